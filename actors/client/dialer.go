package client

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// Dialer opens all sockets of a node's broker clients. It applies the host rules to each dial, after name resolution, and
// dials the very address that it checked (decision O7); and it keeps a register of the sockets, so that a node that lost
// its lease can close them all without asking any driver (design.md 3.2 rule 2).
type Dialer struct {
	hosts    *hosts
	net      net.Dialer
	register *sockets
}

// NewDialer makes a dialer that is ready for use.
func NewDialer(rules HostRules) *Dialer {
	d := &Dialer{hosts: newHosts(rules)}
	d.register = newSockets(d.dial)
	return d
}

// Dial opens a TCP connection to address, "host:port". It fails with a *HostError for a host that the rules forbid, with
// ErrClosed after CloseAll, else as net.Dialer does.
func (d *Dialer) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return d.register.Dial(ctx, network, address)
}

// CloseAll closes every socket, cancels the dials in progress and refuses new ones until Resume. What the kernel has not
// sent yet is dropped. It returns when no socket is left.
func (d *Dialer) CloseAll() { d.register.close(true) }

// Resume allows dials again.
func (d *Dialer) Resume() { d.register.open() }

// Sockets is the number of open sockets.
func (d *Dialer) Sockets() int { return d.register.count() }

func (d *Dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addresses, err := d.hosts.check(ctx, host)
	if err != nil {
		return nil, err
	}
	if len(addresses) == 0 {
		return d.net.DialContext(ctx, network, address)
	}
	return d.dialChecked(ctx, network, port, addresses)
}

// dialChecked tries the addresses in turn. Each but the last has an equal share of the time that is left, so that one
// that does not answer leaves some for the others.
func (d *Dialer) dialChecked(ctx context.Context, network, port string, addresses []netip.Addr) (net.Conn, error) {
	var last error
	for i, a := range addresses {
		attempt, cancel := ctx, context.CancelFunc(func() {})
		if deadline, ok := ctx.Deadline(); ok && i < len(addresses)-1 {
			attempt, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(len(addresses)-i))
		}
		conn, err := d.net.DialContext(attempt, network, net.JoinHostPort(a.String(), port))
		cancel()
		if err == nil {
			return conn, nil
		}
		last = err
	}
	return nil, last
}
