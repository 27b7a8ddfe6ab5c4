package config

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// check holds the rules that concern more than the form of one value.
func (l *loader) check() {
	c, from := &l.out.Config, l.out.Origins
	if c.Instance == "" {
		l.problem("instance", from["instance"], "must not be empty")
	}
	if _, _, err := c.Reserve(); err != nil {
		l.problem("heap-reserve", from["heap-reserve"], err.Error()+", and not auto")
	}
	l.checkTokens()
	if c.DevOps.usesPassword() && c.DevOps.Password.Empty() {
		l.problem("devops.password", from["devops.password"], "must not be empty")
	}
	if c.DevOps.Secured && c.DevOps.StatusSecured && c.DevOps.StatusMethod != MethodOAuth2 && c.DevOps.StatusPassword.Empty() {
		l.problem("devops.statusPassword", from["devops.statusPassword"], "must not be empty")
	}
	l.checkReach()
	l.checkCluster()
	for _, subnet := range c.Connection.BlockedSubnets {
		if _, err := netip.ParsePrefix(subnet); err != nil {
			l.problem("connection.blocked-subnets", from["connection.blocked-subnets"], "is no list of ranges such as 10.0.0.0/8")
			break
		}
	}
	if c.Mapping.ModulePath != "" {
		l.problem("mapping.javascript.commonJsModulePath", from["mapping.javascript.commonJsModulePath"], "must be empty: scripts have no require")
	}
	if _, err := regexp.Compile(c.HTTP.NoRedirect); err != nil {
		l.problem("http.redirect-to-https-blocklist-pattern", from["http.redirect-to-https-blocklist-pattern"], "is no regular expression")
	}
	if _, err := regexp.Compile(c.Connection.BlockedHostRegex); err != nil {
		l.problem("connection.blocked-host-regex", from["connection.blocked-host-regex"], "is no regular expression")
	}
	for _, pair := range []struct {
		low, high       string
		shorter, longer time.Duration
	}{
		{"client.min-backoff", "client.max-backoff", c.Client.BackoffMin, c.Client.BackoffMax},
		{"client.connecting-min-timeout", "client.connecting-max-timeout", c.Client.ConnectingMin, c.Client.ConnectingMax},
		{"connection.supervisor.exponential-backoff.min", "connection.supervisor.exponential-backoff.max", c.Connection.BackoffMin, c.Connection.BackoffMax},
	} {
		if pair.shorter > pair.longer {
			l.problem(pair.low, from[pair.low], "is longer than "+pair.high)
		}
	}
}

// Reserve is heap-reserve as a size, or auto.
func (c *Config) Reserve() (size Size, auto bool, err error) {
	if c.HeapReserve == "auto" {
		return 0, true, nil
	}
	size, err = ParseSize(c.HeapReserve)
	return size, false, err
}

// checkTokens holds the rules of the method oauth2.
func (l *loader) checkTokens() {
	d := &l.out.Config.DevOps
	const key = "devops.oauth.openid-connect-issuers"
	names, addresses := map[string]bool{}, map[string]bool{}
	for _, pair := range d.OAuth.Issuers {
		name, address, ok := strings.Cut(pair, "=")
		switch u, err := url.Parse(d.OAuth.Protocol + "://" + address); {
		case !ok || name == "" || err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || strings.Contains(address, "://"):
			l.problem(key, l.out.Origins[key], "is no list of name=host/path such as ops=id.example.com/realms/ops")
			return
		case names[name] || addresses[address]:
			l.problem(key, l.out.Origins[key], "names "+name+" or its address twice")
			return
		}
		names[name], addresses[address] = true, true
	}
	tokens := d.Method == MethodOAuth2 || d.StatusSecured && d.StatusMethod == MethodOAuth2
	if d.Secured && tokens && len(names) == 0 {
		l.problem(key, l.out.Origins[key], "must not be empty where operators authenticate by oauth2")
	}
}

// checkReach is decision O9: whoever can be reached from other machines has a password that somebody chose, if passwords count.
func (l *loader) checkReach() {
	c := &l.out.Config
	if !c.DevOps.usesPassword() || l.out.Origins["devops.password"] != "default" {
		return
	}
	for _, a := range []struct {
		key     string
		address Address
		off     bool
	}{
		{"http.address", c.HTTP.Address, false},
		{"metrics.address", c.Metrics.Address, !c.Metrics.Enabled},
		{"management.address", c.Management.Address, false},
		{"cluster.address", c.Cluster.Address, c.Postgres.URL.Empty()},
	} {
		if !a.off && !a.address.Loopback() {
			l.problem(a.key, l.out.Origins[a.key], string(a.address)+" can be reached from other machines: set DEVOPS_PASSWORD (or DEVOPS_SECURED=false)")
			return
		}
	}
}

// checkCluster keeps the door between nodes shut to strangers: mTLS, or plaintext where nobody else is or by name.
func (l *loader) checkCluster() {
	c, from := &l.out.Config.Cluster, l.out.Origins
	given := 0
	for _, file := range []string{c.TLS.Cert, c.TLS.Key, c.TLS.CA} {
		if file != "" {
			given++
		}
	}
	if _, port, err := net.SplitHostPort(c.Advertised); c.Advertised != "" && (err != nil || port == "" || port == "0") {
		l.problem("cluster.advertised", from["cluster.advertised"], "is no address such as node-1.example:2551")
	}
	switch {
	case l.out.Config.Postgres.URL.Empty(): // one node only: the port is not opened
	case c.Advertised == "" && c.Address.Everywhere(): // which of the addresses the others reach is not for us to guess
		l.problem("cluster.address", from["cluster.address"], string(c.Address)+" is no address that other nodes can dial: set cluster.advertised (HAWSER_CLUSTER_ADVERTISED)")
	case given != 0 && given != 3:
		l.problem("cluster.tls.cert", from["cluster.tls.cert"], "needs cluster.tls.key and cluster.tls.ca beside it, and each of them the others")
	case given == 0 && !c.Plaintext && !c.Address.Loopback():
		l.problem("cluster.address", from["cluster.address"], string(c.Address)+" can be reached from other machines: set cluster.tls.cert, key and ca (or cluster.plaintext)")
	}
}
