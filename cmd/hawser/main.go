// Command hawser is the connectivity service: `hawser serve` runs a node, `hawser demo` shows one at work, `hawser config`
// explains and checks what can be set. This package wires the parts together and has no logic of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"hawser/cmd/hawser/config"
)

// cli is the command line.
type cli struct {
	Serve   serveCommand   `cmd:"" help:"Run a node until SIGTERM or Ctrl-C."`
	Demo    demoCommand    `cmd:"" help:"Run a node with an in-process broker and relay before your eyes until Ctrl-C."`
	Config  configCommand  `cmd:"" help:"Explain, check or print the configuration."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

// Settings are the flags of every command that reads the configuration.
type Settings struct {
	File string            `name:"config" placeholder:"FILE" help:"YAML file with the configuration (or HAWSER_CONFIG)."`
	Set  map[string]string `short:"D" name:"set" placeholder:"KEY=VALUE" mapsep:"none" help:"Set one key; 'hawser config doc' lists them. Others can read secrets that are set here."`
}

func (s Settings) load() (*config.Loaded, error) {
	return config.Load(config.Sources{File: s.File, Environ: os.Environ(), Flags: s.Set})
}

type serveCommand struct {
	Settings `embed:""`
}

// Run runs a node.
func (c serveCommand) Run(ctx context.Context) error {
	loaded, err := c.load()
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	defer reserveHeap(heapReserveOf(&loaded.Config)).Close()
	log, levels := newLog(os.Stderr, &loaded.Config)
	n, err := startNode(ctx, &loaded.Config, log, levels)
	if err != nil {
		if ctx.Err() != nil { // told to stop while it started
			return nil
		}
		return err
	}
	defer n.stop()
	select {
	case <-ctx.Done():
		return nil
	case <-n.failed():
		return n.failure()
	}
}

type configCommand struct {
	Print printCommand `cmd:"" help:"Print the values in effect and where each was set; secrets are masked."`
	Check checkCommand `cmd:"" help:"Say whether the configuration is right; exit status 1 if not."`
	Doc   docCommand   `cmd:"" help:"Print all keys with environment variables, types, defaults and meaning."`
}

type printCommand struct {
	Settings `embed:""`
}

// Run prints the configuration.
func (c printCommand) Run(out io.Writer) error {
	loaded, err := c.load()
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	return loaded.Print(out)
}

type checkCommand struct {
	Settings `embed:""`
}

// Run lists all problems.
func (c checkCommand) Run(out io.Writer) error {
	_, err := c.load()
	var problems config.Problems
	if !errors.As(err, &problems) {
		_, err = fmt.Fprintln(out, "the configuration is right")
		return err
	}
	for _, p := range problems {
		if _, err := fmt.Fprintln(out, p); err != nil {
			return err
		}
	}
	return fmt.Errorf("configuration: %d problem(s)", len(problems))
}

type docCommand struct{}

// Run prints the table of keys.
func (docCommand) Run(out io.Writer) error { return config.WriteDoc(out) }

type versionCommand struct{}

// Run prints version, revision and platform.
func (versionCommand) Run(out io.Writer) error {
	_, err := fmt.Fprintf(out, "hawser %s, %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// version is the module's version and the revision it was built from, as far as the build recorded them.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v += " " + s.Value
		}
	}
	return v
}

func main() {
	// The first signal ends what runs in order; soon after, the signals do again what they do by default, so that a second one
	// ends the process at once. Not sooner: make, timeout and others send the same signal twice, to the group and the process.
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer restore()
	context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, restore) })

	command := kong.Parse(&cli{}, kong.Name("hawser"), kong.Description("A connectivity service compatible with Eclipse Ditto's."),
		kong.UsageOnError(), kong.BindTo(ctx, (*context.Context)(nil)), kong.BindTo(os.Stdout, (*io.Writer)(nil)))
	if err := command.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "hawser:", strings.ReplaceAll(err.Error(), "\n", "; ")) // one line, whatever libraries think
		os.Exit(1)
	}
}
