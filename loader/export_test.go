package loader

// LoadInSteps is LoadRewritten that stops between what needs no kernel and the rest.
func LoadInSteps(path string, opts Options) (finish func() (*Loaded, error), err error) {
	l, err := newLoad(path, opts)
	if err != nil {
		return nil, err
	}
	return l.run, nil
}
