package client

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// HostRules say which hosts connections may reach (connection-model.md 14.3 as decision O7 has it): each list works by
// itself, and with Blocked, Subnets and Regex all empty every host is allowed.
type HostRules struct {
	Allowed []string       // hosts that are never checked, literally
	Blocked []string       // names; what they resolve to is blocked as well
	Subnets []netip.Prefix // blocked
	Regex   *regexp.Regexp // a host that matches it completely is blocked

	// Resolve looks up a host, nil for net.DefaultResolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
}

// ParseHostRules reads the keys allowed-hostnames, blocked-hostnames, blocked-subnets (comma-separated) and
// blocked-host-regex of connection-model.md 15.
func ParseHostRules(allowed, blocked, subnets, regex string) (HostRules, error) {
	h := HostRules{Allowed: list(allowed), Blocked: list(blocked)}
	for _, s := range list(subnets) {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return HostRules{}, fmt.Errorf("blocked-subnets: %q is no CIDR subnet", s)
		}
		h.Subnets = append(h.Subnets, p.Masked())
	}
	if regex != "" {
		r, err := regexp.Compile(`^(?:` + regex + `)$`)
		if err != nil {
			return HostRules{}, fmt.Errorf("blocked-host-regex: %w", err)
		}
		h.Regex = r
	}
	return h, nil
}

func list(csv string) []string {
	var out []string
	for s := range strings.SplitSeq(csv, ",") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// HostError says why a host may not be reached.
type HostError struct{ Host, Reason string }

func (e *HostError) Error() string { return fmt.Sprintf("the host '%s' %s", e.Host, e.Reason) }

// Check resolves host and applies the rules; the error is a *HostError.
func (h HostRules) Check(ctx context.Context, host string) error {
	_, err := newHosts(h).check(ctx, host)
	return err
}

// hosts applies HostRules and remembers what the blocked names resolve to.
type hosts struct {
	rules HostRules

	mu       sync.Mutex
	resolved time.Time
	blocked  map[netip.Addr]string // address → blocked name
}

// blockedFor is how long the addresses of blocked names are used: a name that could not be resolved is tried again.
const blockedFor = 5 * time.Minute

func newHosts(rules HostRules) *hosts {
	if rules.Resolve == nil {
		rules.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	return &hosts{rules: rules}
}

// check returns the addresses that may be dialled for host; none and no error: any, host is not restricted.
func (h *hosts) check(ctx context.Context, host string) ([]netip.Addr, error) {
	r := &h.rules
	if len(r.Blocked) == 0 && len(r.Subnets) == 0 && r.Regex == nil || slices.Contains(r.Allowed, host) {
		return nil, nil
	}
	if r.Regex != nil && matchesWhole(r.Regex, host) {
		return nil, &HostError{host, "is blocked by the pattern for hosts"}
	}
	for _, name := range r.Blocked {
		if strings.EqualFold(strings.TrimSuffix(name, "."), strings.TrimSuffix(host, ".")) {
			return nil, &HostError{host, "is blocked"}
		}
	}
	addresses, err := r.Resolve(ctx, host)
	if err != nil || len(addresses) == 0 {
		return nil, &HostError{host, "cannot be resolved"}
	}
	blocked := h.blockedAddresses(ctx)
	for i, a := range addresses {
		addresses[i] = a.Unmap()
		if reason := h.reason(a.Unmap().WithZone(""), blocked); reason != "" {
			return nil, &HostError{host, fmt.Sprintf("resolves to the blocked address %s (%s)", a.Unmap(), reason)}
		}
	}
	return addresses, nil
}

// matchesWhole reports whether r matches all of s. ParseHostRules anchors its pattern; a pattern that came from elsewhere
// is matched with the longest match that it has.
func matchesWhole(r *regexp.Regexp, s string) bool {
	longest := *r
	longest.Longest()
	at := longest.FindStringIndex(s)
	return at != nil && at[0] == 0 && at[1] == len(s)
}

// ranges are blocked for being no address of a remote broker. Site-local is Java's notion; unique local and link-local
// addresses are blocked in addition (connection-model.md 14.3).
var ranges = []struct {
	name string
	is   func(netip.Addr) bool
}{
	{"loopback", netip.Addr.IsLoopback},
	{"wildcard", netip.Addr.IsUnspecified},
	{"multicast", netip.Addr.IsMulticast},
	{"link-local", netip.Addr.IsLinkLocalUnicast},
	{"private", netip.Addr.IsPrivate}, // 10/8, 172.16/12, 192.168/16, fc00::/7
	{"site-local", netip.MustParsePrefix("fec0::/10").Contains},
}

func (h *hosts) reason(a netip.Addr, blocked map[netip.Addr]string) string {
	for _, r := range ranges {
		if r.is(a) {
			return r.name
		}
	}
	if name, ok := blocked[a]; ok {
		return "of the blocked host " + name
	}
	for _, p := range h.rules.Subnets {
		if p.Contains(a) {
			return "in the blocked subnet " + p.String()
		}
	}
	return ""
}

func (h *hosts) blockedAddresses(ctx context.Context) map[netip.Addr]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.blocked != nil && time.Since(h.resolved) < blockedFor {
		return h.blocked
	}
	found := map[netip.Addr]string{}
	for _, name := range h.rules.Blocked {
		addresses, err := h.rules.Resolve(ctx, name)
		if err != nil {
			continue // the name itself is blocked all the same
		}
		for _, a := range addresses {
			found[a.Unmap().WithZone("")] = name
		}
	}
	h.blocked, h.resolved = found, time.Now()
	return found
}
