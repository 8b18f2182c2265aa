// Package loader brings rewritten programs into the kernel: it loads, attaches
// and pins them, and tells and undoes what it has attached.
//
// # Loading and attaching
//
// What fields come from is said by [Options]: a layout of the metadata area, from nic.OpenLayout or
// nic.ReadLayout, or accessors of the driver. [FindSource] looks for them as the command does.
//
// [LoadRewritten] loads an object file and attaches its program to an interface, in one go, as
// xdp-load does; [LoadOnAll] does so on several, or on none. A program that embeds its object takes
// the steps itself: [Load] loads it from any reader, its maps can be filled, and [Loaded.Attach]
// attaches it. [Loaded.Replace] has it take the place of another in one step, [Loaded.Detach] takes
// it off.
//
// An attachment is pinned below /sys/fs/bpf/xdp-load, and stays until [Unload]. With
// Options.Unpinned it goes when the [Loaded] is closed or the process ends.
//
// Programs that are loaded and attached with cilium/ebpf come from [RewrittenSpec].
//
// # What there is
//
// A program holds a [Record] of what it was rewritten for, and from. [Status] tells what is
// attached and was loaded by this package, whoever has attached it, [Survey] any program of XDP or TC.
// [Attachment.Changes] says whether a program would be another now, [Reload] makes it that, and
// [KeepUpToDate] does so whenever it is due.
//
// All of it is about the network namespace of the calling thread: see runtime.LockOSThread. Nothing
// here prints, or reads what is not passed to it, but for files that options name and what the
// kernel tells.
//
// # Errors
//
// What a caller can act on is a variable, to be looked for by errors.Is, or a type, for errors.As:
// [RefusalError] is the verifier's refusal, brought back to the source line, and
// rewrite.RefusedError lists accesses that can't be rewritten truthfully. An error that has
// Details has more lines for who reads it.
package loader
