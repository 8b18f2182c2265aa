package main

import (
	_ "embed"
	"runtime/debug"
	"strings"
)

// release is the version that the sources are of, whoever builds them and from what.
//
//go:embed VERSION
var release string

// version returns the release, with the commit in parentheses where the go command
// recorded it: "0.9.0", "0.9.1-dev (af8c54702d1c, modified)".
func version() string {
	release := strings.TrimSpace(release)
	if info, ok := debug.ReadBuildInfo(); ok {
		if commit := commitOf(info, release); commit != "" {
			return release + " (" + commit + ")"
		}
	}
	return release
}

// commitOf returns what a binary was built from besides the release: the commit of a
// checkout, or the module's version, which has it in its name unless it is the release.
func commitOf(info *debug.BuildInfo, release string) string {
	settings := make(map[string]string)
	for _, setting := range info.Settings {
		settings[setting.Key] = setting.Value
	}
	commit := settings["vcs.revision"]
	switch {
	case commit == "" && (info.Main.Version == "(devel)" || info.Main.Version == "v"+release):
		return ""
	case commit == "":
		return info.Main.Version
	}
	commit = commit[:min(len(commit), 12)]
	if settings["vcs.modified"] == "true" {
		commit += ", modified"
	}
	return commit
}
