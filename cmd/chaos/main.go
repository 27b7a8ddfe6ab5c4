package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	scenario, network, binary, times string
	rounds                           int
	short                            bool
	seed                             uint64

	nodes, connections, rate, clients, ids int
	freeze, cut, outage, ttl               time.Duration
	postgres, keep, json                   string
	list                                   bool
	shapes                                 shapes
	env                                    []string
}

// nodeEnv is what all nodes get besides their addresses.
func (o options) nodeEnv() []string {
	env := o.env
	if o.ttl > 0 {
		env = append([]string{"HAWSER_LEASE_TTL=" + o.ttl.String()}, env...)
	}
	return env
}

// watch is how long connections are asked for after a fault: longer than it takes to notice it.
func (o options) watch() time.Duration {
	return max(5*time.Second, o.ttl) + 3*time.Second
}

func parseOptions(args []string, errOut io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("chaos", flag.ContinueOnError)
	f.SetOutput(errOut)
	f.StringVar(&o.scenario, "scenario", "all", "comma separated names of -list")
	f.IntVar(&o.rounds, "rounds", 3, "how often each scenario runs")
	f.BoolVar(&o.short, "short", false, "kill, stop, drain, kill with drain, and one cut, once each, with fewer connections and shorter faults; what is given besides holds")
	f.IntVar(&o.nodes, "nodes", 3, "processes of the cluster")
	f.IntVar(&o.connections, "connections", 300, "open connections: half sources, half targets")
	f.BoolVar(&o.shapes.two, "two-clients", true, "every 5th target, every 8th source and every 4th of -ids is of type mqtt-5 with clientCount 2, all others mqtt")
	f.IntVar(&o.rate, "rate", 300, "messages per second, all relays together")
	f.IntVar(&o.clients, "clients", 8, "clients that send commands at random")
	f.IntVar(&o.ids, "ids", 24, "connections that those work on")
	f.DurationVar(&o.freeze, "freeze", 25*time.Second, "length of a SIGSTOP")
	f.DurationVar(&o.cut, "cut", 20*time.Second, "length of a cut")
	f.DurationVar(&o.outage, "outage", 15*time.Second, "length of PostgreSQL's outage")
	f.DurationVar(&o.ttl, "ttl", 0, "HAWSER_LEASE_TTL of the nodes; 0: their default (the limits are those of 5s)")
	f.StringVar(&o.network, "network", "auto", "namespaces, proxies, loopback, or auto: namespaces for root, else proxies")
	f.StringVar(&o.binary, "binary", "", "hawser to run; default: built from this module")
	f.StringVar(&o.postgres, "postgres", "", "URL of a PostgreSQL to use instead of a private one")
	f.StringVar(&o.keep, "keep", "", "folder for logs and histories, kept")
	f.StringVar(&o.json, "json", "", "file for the results of all rounds; - is standard output")
	f.Uint64Var(&o.seed, "seed", 0, "of everything drawn at random; 0: a new one")
	f.StringVar(&o.times, "times", "", "judge or report the times against their limits; default: judge, with -short report")
	f.BoolVar(&o.list, "list", false, "list the scenarios")
	f.Func("env", "KEY=VALUE for all nodes, may be repeated", func(s string) error {
		if !strings.Contains(s, "=") {
			return errors.New("want KEY=VALUE")
		}
		o.env = append(o.env, s)
		return nil
	})
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected %q", f.Arg(0))
	}
	given := map[string]bool{}
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if o.short {
		for name, set := range map[string]func(){
			"rounds": func() { o.rounds = 1 }, "connections": func() { o.connections = 60 }, "rate": func() { o.rate = 120 }, "ids": func() { o.ids = 16 },
			"freeze": func() { o.freeze = 10 * time.Second }, "cut": func() { o.cut = 10 * time.Second }, "times": func() { o.times = "report" },
		} {
			if !given[name] {
				set()
			}
		}
	}
	if o.times == "" {
		o.times = "judge"
	}
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	switch {
	case o.times != "judge" && o.times != "report":
		return o, fmt.Errorf("-times %s: want judge or report", o.times)
	case o.nodes < 1 || o.nodes > 20:
		return o, fmt.Errorf("-nodes %d: want 1 to 20", o.nodes)
	case o.connections < 2 || o.connections > 10000:
		return o, fmt.Errorf("-connections %d: want 2 to 10000", o.connections)
	case o.rate < 0 || o.rate > 5000:
		return o, fmt.Errorf("-rate %d: want 0 to 5000", o.rate)
	case o.clients < 1 || o.clients > 64 || o.ids < 1 || o.ids > 99:
		return o, fmt.Errorf("-clients %d -ids %d: want 1 to 64 and 1 to 99", o.clients, o.ids)
	case o.rounds < 1:
		return o, fmt.Errorf("-rounds %d: want at least 1", o.rounds)
	}
	return o, nil
}

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	cancel()
	os.Exit(code)
}

// run is main with its surroundings given.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	o, err := parseOptions(args, errOut)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(errOut, "chaos:", err)
		return 2
	}
	if o.list {
		for _, s := range scenarios {
			fmt.Fprintf(out, "  %-17s %s\n", s.name, s.title)
		}
		return 0
	}
	broken, err := experiment(ctx, o, out)
	if err != nil {
		fmt.Fprintln(errOut, "chaos:", err)
		return 2
	}
	if broken {
		return 1
	}
	return 0
}

// stage is a cluster and the scenarios that run on it.
type stage struct {
	network   string
	scenarios []scenario
}

// stages groups the scenarios by network, in order of appearance.
func stages(list []scenario, usual string) []stage {
	var out []stage
	for _, s := range list {
		network := s.network
		if network == "" {
			network = usual
		}
		if len(out) == 0 || out[len(out)-1].network != network {
			out = append(out, stage{network: network})
		}
		last := &out[len(out)-1]
		last.scenarios = append(last.scenarios, s)
	}
	return out
}

// experiment runs everything and prints the table.
func experiment(ctx context.Context, o options, out io.Writer) (broken bool, err error) {
	list, err := selected(o.scenario, o.short)
	if err != nil {
		return false, err
	}
	began := time.Now()
	removeStaleFolders()
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", folderPrefix, os.Getpid()))
	if err != nil {
		return false, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := passable(dir); err != nil {
		return false, err
	}
	logs := filepath.Join(dir, "logs")
	if o.keep != "" {
		logs = o.keep
	}
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return false, err
	}
	binary := o.binary
	if binary == "" {
		binary = filepath.Join(dir, "hawser")
		build := exec.CommandContext(ctx, "go", "build", "-o", binary, "hawser/cmd/hawser")
		if text, err := build.CombinedOutput(); err != nil {
			return false, fmt.Errorf("go build: %w:\n%s", err, lastLines(string(text), 10))
		}
	}
	if binary, err = filepath.Abs(binary); err != nil {
		return false, err
	}

	rep := report{Seed: o.seed, Began: began, Settings: os.Args[1:], Machine: fmt.Sprintf("%s/%s, %d CPUs, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())}
	var lines []summary
	run := 0
	for _, st := range stages(list, o.network) {
		if ctx.Err() != nil {
			break
		}
		results, skipped, err := playStage(ctx, o, st, dir, logs, binary, &run, out)
		rep.Rounds = append(rep.Rounds, results...)
		lines = append(lines, summarize(results)...)
		for _, s := range skipped {
			rep.NotRun = append(rep.NotRun, s.Scenario+": "+s.skip)
		}
		lines = append(lines, skipped...)
		if err != nil {
			if ctx.Err() != nil {
				break
			}
			return false, err
		}
	}
	for _, r := range rep.Rounds {
		broken = broken || len(r.broken()) > 0 || o.times == "judge" && len(r.late()) > 0
	}
	rep.Broken, rep.Took = broken, time.Since(began).Round(time.Second).String()
	fmt.Fprintf(out, "\n%d nodes, %d connections, %d messages/s, %d clients; seed %d; %s; %s\n\n", o.nodes, o.connections, o.rate, o.clients, o.seed, rep.Machine, rep.Took)
	printTable(out, lines, o.times == "judge")
	if o.json != "" {
		if err := writeJSON(o.json, out, rep); err != nil {
			return broken, err
		}
	}
	if ctx.Err() != nil {
		return broken, errors.New("interrupted")
	}
	return broken, nil
}

func writeJSON(file string, out io.Writer, rep report) error {
	if file == "-" {
		return printJSON(out, rep)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(printJSON(f, rep), f.Close())
}

// playStage makes a cluster and plays the rounds of its scenarios.
func playStage(ctx context.Context, o options, st stage, dir, logs, binary string, run *int, out io.Writer) (results []result, skipped []summary, err error) {
	network, err := chooseNetwork(ctx, st.network, o.postgres != "")
	if err != nil {
		return nil, nil, err
	}
	var playable []scenario
	for _, s := range st.scenarios {
		if why := s.missing(o.nodes, network, o.postgres != ""); why != "" {
			skipped = append(skipped, summary{result: result{Scenario: s.name}, skip: why})
			continue
		}
		playable = append(playable, s)
	}
	if len(playable) == 0 {
		network.close()
		return nil, skipped, nil
	}
	fmt.Fprintf(out, "network %s: starting PostgreSQL, Mosquitto, %d nodes, %d connections\n", network.name(), o.nodes, o.connections)
	at := filepath.Join(dir, fmt.Sprintf("stage-%d", *run))
	stageLogs := filepath.Join(logs, network.name())
	for _, folder := range []string{at, stageLogs} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			network.close()
			return nil, skipped, err
		}
	}
	l, err := newLab(ctx, o, network, at, stageLogs, binary)
	if err != nil {
		return nil, skipped, err
	}
	defer l.close()
	for _, s := range playable {
		rounds := o.rounds
		if s.once {
			rounds = 1
		}
		for number := 1; number <= rounds && ctx.Err() == nil; number++ {
			*run++
			r := l.play(ctx, s, number, *run, o.seed)
			results = append(results, r)
			fmt.Fprintln(out, r.line(o.times == "judge"))
			if o.keep != "" && len(r.broken()) > 0 {
				if err := keepHistory(filepath.Join(stageLogs, fmt.Sprintf("history-%s-%d.json", s.name, number)), r); err != nil {
					return results, skipped, err
				}
			}
		}
	}
	return results, skipped, ctx.Err()
}

func keepHistory(file string, r result) error {
	b, err := json.MarshalIndent(r.operations, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o644)
}

const folderPrefix = "hawser-chaos-"

// removeStaleFolders removes the data of runs whose process is gone: they were killed before they could.
func removeStaleFolders() {
	found, _ := filepath.Glob(filepath.Join(os.TempDir(), folderPrefix+"*"))
	for _, folder := range found {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(folder), folderPrefix), "-")
		if _, err := strconv.Atoi(pid); err != nil {
			continue
		}
		if _, err := os.Stat("/proc/" + pid); os.IsNotExist(err) {
			_ = os.RemoveAll(folder)
		}
	}
}
