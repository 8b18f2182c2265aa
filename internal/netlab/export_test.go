package netlab

// For tests of both ways on one kernel.
var (
	RunWithContext = runWithContext
	RunByCaller    = runByCaller
)
