package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
)

// readObject is os.ReadFile with errors that start with the path, as those
// about its contents do.
func readObject(path string) ([]byte, error) {
	object, err := os.ReadFile(path)
	if err == nil {
		return object, nil
	}
	if info, statErr := os.Stat(path); statErr == nil && info.IsDir() { // of which Windows says something else
		err = syscall.EISDIR
	}
	return nil, inObject(path, withoutPath(err))
}

// writeFile writes a file whole or leaves it as it was. It follows links, and writes
// devices and pipes in place. A file that is there keeps its mode, and its owner as
// far as that is allowed; a new one gets the mode that the umask leaves.
func writeFile(path string, data []byte) error {
	if err := writeWhole(path, data); err != nil {
		return inObject(path, withoutPath(err))
	}
	return nil
}

func writeWhole(path string, data []byte) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	switch present, err := os.Stat(path); {
	case err != nil:
		return replaceFile(path, data, nil)
	case present.IsDir():
		return errors.New("is a directory: give the name of a file")
	case !present.Mode().IsRegular():
		return writeInPlace(path, data)
	default:
		return replaceFile(path, data, present)
	}
}

// writeInPlace writes a device or a pipe, which is there and has no contents.
func writeInPlace(path string, data []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return cmp.Or(err, file.Close())
}

// replaceFile puts a new file in the place of the one that is present, nil if there is
// none.
func replaceFile(path string, data []byte, present fs.FileInfo) error {
	mode := fs.FileMode(0o666)
	if present != nil {
		mode = present.Mode().Perm()
	}
	file, err := createIn(filepath.Dir(path), mode)
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())

	if present != nil {
		keepOwner(file, present)
		err = file.Chmod(mode) // whatever the umask
	}
	_, writeErr := file.Write(data)
	if err := cmp.Or(err, writeErr, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// createIn creates a file in a directory under a name that no other has. Unlike
// os.CreateTemp it leaves the mode to the caller and the umask.
func createIn(dir string, mode fs.FileMode) (*os.File, error) {
	for {
		name := filepath.Join(dir, fmt.Sprintf(".xdp-load-%016x", rand.Uint64()))
		file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if !errors.Is(err, fs.ErrExist) {
			return file, err
		}
	}
}

// withoutPath returns the reason of an error of package os, which is about a file that
// the message names already or that the user does not know.
func withoutPath(err error) error {
	var pathError *fs.PathError
	var linkError *os.LinkError
	switch {
	case errors.As(err, &pathError):
		return pathError.Err
	case errors.As(err, &linkError):
		return linkError.Err
	}
	return err
}
