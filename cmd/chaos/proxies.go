package main

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// proxies is the network for those who may not make namespaces: everything on the loopback, but each node reaches
// PostgreSQL, and each peer reaches each node, through a TCP relay that can stop copying. Bytes wait meanwhile and go on
// after the cut, as TCP's own retransmission does; new links are taken and hang.
type proxies struct {
	loopback
	mu    sync.Mutex
	cond  *sync.Cond
	cutAt map[int]links
	pids  map[int]int // index → process id: who is dialling a peer
	pipes []*pipe
}

func newProxies() *proxies {
	p := &proxies{cutAt: map[int]links{}, pids: map[int]int{}}
	p.cond = sync.NewCond(&p.mu)
	return p
}

func (p *proxies) name() string { return "proxies" }

func (p *proxies) cuts(l links) bool { return l&toOnePeer == 0 }

func (p *proxies) place(index int, postgres string) (place, error) {
	at, err := p.loopback.place(index, postgres)
	if err != nil {
		return place{}, err
	}
	database, err := p.pipe(postgres, func(net.Conn) func() bool {
		return func() bool { return p.cutAt[index]&toPostgres != 0 }
	})
	if err != nil {
		return place{}, err
	}
	peers, err := p.pipe(at.cluster, func(c net.Conn) func() bool {
		other := p.dialler(c)
		return func() bool { return (p.cutAt[index]|p.cutAt[other])&toPeers != 0 }
	})
	if err != nil {
		return place{}, err
	}
	at.postgres, at.advertised = database, peers
	return at, nil
}

// started notes which process a node is, so that its dials can be told from others'.
func (p *proxies) started(index, pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pids[index] = pid
}

func (p *proxies) dialler(c net.Conn) int {
	p.mu.Lock()
	pids := make([]int, 0, len(p.pids))
	byPID := map[int]int{}
	for index, pid := range p.pids {
		pids = append(pids, pid)
		byPID[pid] = index
	}
	p.mu.Unlock()
	theirs, err1 := netip.ParseAddrPort(c.RemoteAddr().String())
	ours, err2 := netip.ParseAddrPort(c.LocalAddr().String())
	if err1 != nil || err2 != nil {
		return 0
	}
	return byPID[socketOwner(theirs, ours, pids)]
}

func (p *proxies) cut(index int, l links) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutAt[index] = l
	p.cond.Broadcast()
	return nil
}

func (p *proxies) close() {
	p.mu.Lock()
	p.cutAt = map[int]links{}
	p.cond.Broadcast()
	pipes := p.pipes
	p.mu.Unlock()
	for _, one := range pipes {
		one.close()
	}
}

// pipe relays TCP links to one address.
type pipe struct {
	listener net.Listener
	to       string
	mu       sync.Mutex
	ends     map[net.Conn]bool // nil: closed
	all      sync.WaitGroup
}

// pipe starts a relay; cut is asked, with p.mu held, whether bytes of a link must wait.
func (p *proxies) pipe(to string, cutOf func(net.Conn) (cut func() bool)) (address string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	one := &pipe{listener: listener, to: to, ends: map[net.Conn]bool{}}
	p.mu.Lock()
	p.pipes = append(p.pipes, one)
	p.mu.Unlock()
	one.all.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			one.all.Go(func() { one.serve(p, c, cutOf) })
		}
	})
	return "127.0.0.1:" + strconv.Itoa(listener.Addr().(*net.TCPAddr).Port), nil
}

func (one *pipe) serve(p *proxies, c net.Conn, cutOf func(net.Conn) func() bool) {
	defer one.remove(c)
	if !one.add(c) {
		return
	}
	cut := cutOf(c)
	p.wait(cut)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	server, err := new(net.Dialer).DialContext(ctx, "tcp", one.to)
	if err != nil {
		return
	}
	defer one.remove(server)
	if !one.add(server) {
		return
	}
	back := make(chan struct{})
	go func() { defer close(back); p.copy(c, server, cut) }()
	p.copy(server, c, cut)
	<-back
}

// copy moves bytes until one side ends; then the other is closed, but not while the link is cut: the news would not arrive.
func (p *proxies) copy(to, from net.Conn, cut func() bool) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.wait(cut)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				_ = from.Close()
				return
			}
		}
		if err != nil {
			_ = to.Close()
			return
		}
	}
}

func (p *proxies) wait(cut func() bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for cut() {
		p.cond.Wait()
	}
}

func (one *pipe) add(c net.Conn) bool {
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.ends == nil {
		_ = c.Close()
		return false
	}
	one.ends[c] = true
	return true
}

func (one *pipe) remove(c net.Conn) {
	one.mu.Lock()
	defer one.mu.Unlock()
	_ = c.Close()
	delete(one.ends, c)
}

func (one *pipe) close() {
	_ = one.listener.Close()
	one.mu.Lock()
	for c := range one.ends {
		_ = c.Close()
	}
	one.ends = nil
	one.mu.Unlock()
	one.all.Wait()
}
