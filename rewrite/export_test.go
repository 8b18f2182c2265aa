package rewrite

// Unshortened returns options with which edits are left as they are planned alone.
func Unshortened(options Options) Options {
	options.unshortened = true
	return options
}
