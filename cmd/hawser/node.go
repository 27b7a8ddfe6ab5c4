package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hawser/actors"
	"hawser/actors/monitor"
	"hawser/cmd/hawser/config"
	"hawser/gateway"
	"hawser/gateway/connections"
	"hawser/gateway/devops"
	"hawser/gateway/oidc"
	"hawser/gateway/status"
	"hawser/messages"
	"hawser/persistence"
	"hawser/persistence/encryption"
	"hawser/persistence/sqlite"
)

// node is one running Hawser: listeners, store, actors. `serve` and `demo` start the same.
type node struct {
	config   *config.Config
	log      *slog.Logger
	core     core
	levels   *devops.Levels
	logs     *monitor.Publisher // nil unless connection logs are published
	metrics  prometheus.Registerer
	folder   *sqlite.Lock      // the hold of the data folder, nil if there is none
	store    persistence.Store // nil until it is open
	registry *prometheus.Registry
	keys     *encryption.Keys
	// unwatchKeys ends the watch over the key files; nil until it runs.
	unwatchKeys func()
	servers     struct{ api, management, metrics *gateway.Server } // metrics nil when switched off
	rest        *connections.Handler
	devops      *devops.Handler
	tokens      *oidc.Verifier
	readable    atomic.Pointer[persistence.Store] // the store once it is open, for the health check
}

// core is the actors' node as soon as it runs. Until then, and once the node is leaving, commands find no lease and the
// node is not ready, so that the listeners can be opened before the database has answered.
type core struct {
	node    atomic.Pointer[actors.Node]
	leaving atomic.Bool
	self    string // address of this node in the cluster
	// instance is the id of the configuration, targets what this node answers for itself: they are there before the actors.
	instance string
	targets  map[string]actors.NodeTarget
}

// Instance implements gateway.Nodes.
func (c *core) Instance() string {
	if n := c.node.Load(); n != nil {
		return n.Instance()
	}
	return c.instance
}

// Instances implements gateway.Nodes.
func (c *core) Instances() ([]string, bool) {
	n := c.node.Load()
	if n == nil || !n.Member() {
		return []string{c.Instance()}, false
	}
	return n.Instances(), true
}

// AskInstance implements gateway.Nodes.
func (c *core) AskInstance(ctx context.Context, instance, target string, cmd messages.Command) (messages.Reply, error) {
	if n := c.node.Load(); n != nil {
		return n.AskInstance(ctx, instance, target, cmd)
	}
	answer, ok := c.targets[target]
	switch {
	case instance != c.instance:
		return messages.Reply{}, messages.ErrInstanceNotFound
	case !ok:
		return messages.Reply{}, messages.ErrTargetNotFound
	}
	return answer(ctx, cmd)
}

// Ask implements gateway.Asker.
func (c *core) Ask(ctx context.Context, target string, cmd messages.Command) (messages.Reply, error) {
	n := c.node.Load()
	if n == nil {
		return messages.Reply{}, messages.ErrNoLease
	}
	return n.Ask(ctx, target, cmd)
}

// Connections implements gateway.Reader.
func (c *core) Connections(ctx context.Context, ids []string, fields *messages.FieldSelector) iter.Seq2[json.RawMessage, error] {
	n := c.node.Load()
	if n == nil {
		return func(yield func(json.RawMessage, error) bool) { yield(nil, messages.ErrNoLease) }
	}
	return n.Connections(ctx, ids, fields)
}

// Ready implements status.Probe.
func (c *core) Ready() error {
	n := c.node.Load()
	switch {
	case c.leaving.Load():
		return errors.New("the node is stopping")
	case n == nil:
		return errors.New("the node is starting")
	case !n.Ready():
		return errors.New("the node holds no lease")
	case n.Isolated():
		return errors.New("the node and its peers do not reach each other, so it stands aside")
	case len(n.Members()) == 0:
		return errors.New("the node has not seen itself among the members yet")
	}
	return nil
}

// role is the one role of every member.
const role = "connectivity"

// Cluster implements status.Probe. The member that joined first is leader and oldest; who does not answer this node is not
// among the members but among the unreachable.
func (c *core) Cluster() status.Cluster {
	view := status.Cluster{SelfNode: c.self}
	n := c.node.Load()
	if n == nil {
		return view
	}
	unreachable := n.Unreachable()
	for _, m := range n.Members() {
		member := status.Member{Node: m.Address, NodeUID: string(m.ID), Status: "Up", Roles: []string{role}, Instance: m.Instance}
		if member.Node == "" {
			member.Node = c.self
		}
		if m.Draining {
			member.Status = "Leaving"
		}
		if slices.Contains(unreachable, m.ID) {
			view.Unreachable = append(view.Unreachable, member)
			continue
		}
		view.Members = append(view.Members, member)
	}
	if len(view.Members) > 0 {
		oldest := view.Members[0].Node
		view.Leader, view.Oldest, view.OldestPerRole = oldest, oldest, map[string]string{role: oldest}
	}
	return view
}

// startNode opens the listeners, then the store, then the actors. Its error is one line for the operator; nothing is left
// open then.
func startNode(ctx context.Context, c *config.Config, log *slog.Logger, levels *devops.Levels) (_ *node, err error) {
	n := &node{config: c, levels: levels, core: core{self: cmp.Or(c.Cluster.Advertised, string(c.Cluster.Address)), instance: c.Instance}}
	log = withInstance(log, n.core.Instance)
	n.log = log
	n.registry, n.metrics = newRegistry(c.Metrics.Prefix)
	defer func() {
		if err != nil {
			n.stop()
		}
	}()
	if n.keys, err = encryptionKeys(c, log); err != nil {
		return nil, err
	}
	if err := n.listen(); err != nil {
		return nil, err
	}
	if n.folder, err = holdFolder(c, log); err != nil {
		return nil, err
	}
	observed := newStoreMetrics()
	n.metrics.MustRegister(observed.took, observed.rows)
	if n.store, err = openStore(ctx, c, n.folder, log, observed.observe); err != nil {
		return nil, err
	}
	n.readable.Store(&n.store)
	options, err := nodeOptions(c, n.store, n.keys, log)
	if err != nil {
		return nil, err
	}
	n.watchKeys()
	options.NodeTargets = n.core.targets
	if options.Cluster != nil && n.folder != nil && n.folder.Local() {
		options.Cluster.Lock = n.folder
	}
	if c.Publisher.Enabled {
		n.logs = monitor.NewPublisher(publisherOptions(c, n.core.Instance, log))
		n.metrics.MustRegister(n.logs)
		options.Monitor.Publisher = n.logs
	}
	running, err := actors.Start(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	n.metrics.MustRegister(running.Monitor())
	n.metrics.MustRegister(running.Metrics())
	n.metrics.MustRegister(running.Cleanup())
	n.metrics.MustRegister(running.Links())
	n.metrics.MustRegister(running.Migration())
	n.core.node.Store(running)
	log.Info("started", "api", n.apiURL(), "management", "http://"+n.servers.management.Addr().String(), "metrics", n.metricsURL(), "store", storeName(c), "version", version())
	return n, nil
}

// watchKeys reloads the keys when their files change, or on SIGHUP (decision D29), until the node stops.
func (n *node) watchKeys() {
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.keys.Watch(ctx, reload)
	}()
	n.unwatchKeys = func() {
		signal.Stop(reload)
		cancel()
		<-done
	}
}

// listen binds all addresses before it serves any, so that a taken one is found first.
func (n *node) listen() error {
	c := n.config
	var bound []net.Listener
	bind := func(purpose string, address config.Address) (net.Listener, error) {
		l, err := gateway.Listen(purpose, string(address))
		if err != nil {
			for _, other := range bound {
				_ = other.Close()
			}
			return nil, err
		}
		bound = append(bound, l)
		return l, nil
	}
	api, err := bind("API (http.address)", c.HTTP.Address)
	if err != nil {
		return err
	}
	management, err := bind("management (management.address)", c.Management.Address)
	if err != nil {
		return err
	}
	if c.Metrics.Enabled {
		metrics, err := bind("metrics (metrics.address)", c.Metrics.Address)
		if err != nil {
			return err
		}
		n.servers.metrics = gateway.Serve(metrics, status.Metrics(n.registry, n.log), gateway.Limits{Answer: 30 * time.Second}, n.log)
	}
	n.servers.management = gateway.Serve(management, status.Management(&n.core), gateway.Limits{Answer: 10 * time.Second}, n.log)
	n.servers.api = gateway.Serve(api, n.api(), gateway.Limits{Connections: c.HTTP.MaxConnections, Idle: c.HTTP.IdleTimeout, Answer: c.HTTP.RequestTimeout + 15*time.Second}, n.log)
	return nil
}

// api is the handler of the API's address.
func (n *node) api() http.Handler {
	c := n.config
	operators, observers := n.realms()
	n.devops = devops.NewHandler(devops.Options{
		Asker: &n.core, Nodes: &n.core, Targets: selections,
		RequestTimeout: c.HTTP.RequestTimeout, MaxTimeout: c.HTTP.MaxTimeout, QueryHeaders: c.HTTP.QueryHeaders, Log: named(n.log, "hawser/gateway/devops"),
	})
	n.rest = connections.NewHandler(connections.Options{
		Asker: &n.core, Reader: &n.core, Realm: operators, MediaTypes: c.HTTP.MediaTypes, RequestTimeout: min(c.HTTP.RequestTimeout, c.HTTP.DefaultTimeout),
		MaxTimeout: c.HTTP.MaxTimeout, ErrorWindow: c.HTTP.ErrorWindow, RetrieveLimit: c.HTTP.RetrieveLimit, QueryHeaders: c.HTTP.QueryHeaders, Log: n.log,
	})
	checks := status.Options{Info: n.info(), Instance: n.core.Instance, Probe: &n.core, Timeout: c.Health.Timeout, CacheHealth: c.Health.CacheTimeout, AnyRoles: !c.Health.RolesEnabled}
	if c.Health.Enabled {
		checks.Persistence = n.checkStore
	}
	views := status.NewViews(checks)
	n.core.targets = n.nodeTargets(views)
	front := gateway.Front{
		CORS: c.HTTP.CORS, ForceHTTPS: c.HTTP.ForceHTTPS, RedirectToHTTPS: c.HTTP.RedirectHTTPS, ProtocolHeaders: c.HTTP.ProtocolHeaders,
		NoRedirect: regexp.MustCompile("^(?:" + c.HTTP.NoRedirect + ")$"), // compiled before, when the configuration was checked
	}
	return front.Handler(gateway.NewAPI(int64(c.HTTP.MaxBody), n.log,
		gateway.Route{Segment: "api", Handler: n.rest}, // authenticates by itself
		gateway.Route{Segment: "devops", Realm: operators, Handler: n.devops},
		gateway.Route{Segment: "health", Handler: views.Health()},
		gateway.Route{Segment: "status", Handler: views.Status()},
		gateway.Route{Segment: "overall", Realm: observers, Handler: views.Overall()},
		gateway.Route{Segment: "stats", Handler: status.Stats(operators)},
	))
}

// realms are who may use /devops and /api/2/connections, and who may see /overall (contract http-api.md 2).
func (n *node) realms() (operators, observers *gateway.Realm) {
	c := &n.config.DevOps
	if !c.Secured {
		return nil, nil
	}
	log := named(n.log, "hawser/gateway")
	n.tokens = oidc.New(oidc.Options{
		Issuers: c.Issuers(), Protocol: c.OAuth.Protocol, Skew: c.OAuth.Skew, KeysFor: c.OAuth.KeysFor, RetryAfter: c.OAuth.RetryAfter,
		Timeout: c.OAuth.Timeout, Log: log,
	})
	if operators = gateway.NewRealm(gateway.RealmDevOps, c.Password.Reveal()); c.Method == config.MethodOAuth2 {
		operators = gateway.NewTokenRealm(n.tokens, c.Subjects, log)
	}
	switch {
	case !c.StatusSecured:
	case c.StatusMethod == config.MethodOAuth2:
		observers = gateway.NewTokenRealm(n.tokens, c.StatusSubjects, log)
	default:
		observers = gateway.NewRealm(gateway.RealmStatus, c.Password.Reveal(), c.StatusPassword.Reveal())
	}
	return operators, observers
}

// selections are what an envelope can name (contract piggyback.md 2.1).
var selections = []devops.Target{
	{Selection: messages.TargetConnection}, {Selection: messages.TargetConnectionIDs},
	{Selection: messages.TargetEncryption}, {Selection: messages.TargetPersistenceCleanup, PerNode: true}, {Selection: messages.TargetHealth, PerNode: true},
	{Selection: messages.TargetDevOps, PerNode: true},
}

// nodeTargets are what this node answers for itself: its health, configuration and log levels.
func (n *node) nodeTargets(views *status.Views) map[string]actors.NodeTarget {
	return map[string]actors.NodeTarget{
		messages.TargetHealth: func(_ context.Context, c messages.Command) (messages.Reply, error) {
			if c.Type != messages.RetrieveHealth {
				return messages.Reply{}, messages.ErrNotTaken
			}
			return views.Reply(), nil
		},
		messages.TargetDevOps: func(_ context.Context, c messages.Command) (messages.Reply, error) {
			if c.Type != messages.RetrieveConfig {
				return messages.Reply{}, messages.ErrNotTaken
			}
			held := n.keys.Ring().Fingerprints()
			document := n.config.Document(config.Process{
				Service: role, Instance: n.core.Instance(), Args: os.Args, Environ: os.Environ(),
				Fingerprints: map[string]string{"connection.encryption.symmetrical-key": held.Key, "connection.encryption.old-symmetrical-key": held.Old},
			})
			return messages.ConfigReply(c.Type, document, c.ConfigPath()), nil
		},
		messages.TargetLogging: func(ctx context.Context, c messages.Command) (messages.Reply, error) {
			return n.levels.Answer(n.core.Instance())(ctx, c)
		},
	}
}

// checkStore reads a little from the store, for the health check.
func (n *node) checkStore(ctx context.Context) error {
	store := n.readable.Load()
	if store == nil {
		return errors.New("the store is not open yet")
	}
	_, err := (*store).IDs(ctx, "", 1)
	if err != nil {
		n.log.Warn("the health check cannot read the store", "error", err)
	}
	return err
}

// info is what the status views say of this process.
func (n *node) info() status.Info {
	host, _ := os.Hostname() // shown if there is one
	return status.Info{
		Service: role, Version: version(), Built: built(), Hostname: host, LocalAddress: n.core.self,
		Processors: runtime.GOMAXPROCS(0), Memory: memory(),
	}
}

func (n *node) apiURL() string { return "http://" + n.servers.api.Addr().String() }

func (n *node) metricsURL() string {
	if n.servers.metrics == nil {
		return "off"
	}
	return "http://" + n.servers.metrics.Addr().String()
}

// failed is closed when the API's listener has failed: a node that cannot be reached ends.
func (n *node) failed() <-chan struct{} { return n.servers.api.Done() }

// failure says why, after failed.
func (n *node) failure() error { return n.servers.api.Err() }

// stop ends the node in order (contract operations.md 6.5): not ready any more; the connections go to the other nodes, and
// commands that still arrive with them; then no new requests, the running ones end, the node leaves, the store is closed.
// What takes longer than it may is cut off.
func (n *node) stop() {
	n.core.leaving.Store(true)
	n.log.Info("stopping")
	ctx, cancel := context.WithTimeout(context.Background(), n.config.HTTP.ShutdownTimeout)
	defer cancel()
	var problems []string
	running := n.core.node.Load()
	if running != nil {
		running.Drain()
	}
	if n.servers.api != nil {
		if err := n.servers.api.Shutdown(ctx); err != nil {
			problems = append(problems, err.Error())
		}
		n.rest.Wait()
		n.devops.Wait()
		if n.tokens != nil {
			n.tokens.Close()
		}
	}
	if running != nil {
		running.Stop()
	}
	if n.logs != nil {
		n.logs.Close()
	}
	if n.unwatchKeys != nil {
		n.unwatchKeys()
	}
	if n.store != nil {
		if err := n.store.Close(); err != nil {
			problems = append(problems, err.Error())
		}
	}
	if n.folder != nil {
		if err := n.folder.Release(); err != nil {
			problems = append(problems, err.Error())
		}
	}
	brief, done := context.WithTimeout(context.Background(), time.Second)
	defer done()
	for _, s := range []*gateway.Server{n.servers.management, n.servers.metrics} {
		if s != nil {
			_ = s.Shutdown(brief) // a probe or a scrape that is cut off is asked again
		}
	}
	if len(problems) > 0 {
		n.log.Warn("stopped, but not in order", "problems", strings.Join(problems, "; "))
		return
	}
	n.log.Info("stopped")
}
