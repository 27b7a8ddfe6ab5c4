package main

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// built is when the revision was committed that this program was built from, "" if the build did not record it.
func built() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			return s.Value
		}
	}
	return ""
}

// memory is the memory of this machine, as "512 MB"; "" where it cannot be told.
func memory() string {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(text), "\n") // MemTotal:       24576000 kB
	fields := strings.Fields(first)
	if len(fields) < 2 {
		return ""
	}
	kib, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return ""
	}
	return strconv.FormatInt(kib/1024, 10) + " MB"
}
