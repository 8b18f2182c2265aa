package main

import "github.com/spf13/cobra"

// newHere returns the root command, and those below it that this system has: all.
func newHere(f *flags) *cobra.Command {
	root, load := newLoads(f)
	addGroups(root)
	addTo(root, groupLoad, load, newReload(f), newWatch(f), newUnload(f), newRun(f))
	addTo(root, groupLook, newStatus(f), newNIC(f), newDrivers(f), newVerify(f))
	addFileCommands(root, f)
	return root
}
