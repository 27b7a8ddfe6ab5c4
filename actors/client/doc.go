// Package client runs one broker client of a connection: the Transport interface that every protocol implements, and the
// state machine above it (runtime.md 10) that owns connecting, backoff, testing, status and timeouts for all of them.
//
// The transports are sub-packages (mqtt, mqtt5, …); they import this package and their driver, nothing sideways but what
// several of them have in common (mqttbinding). What a running client consumed goes to a Sink (actors/signals implements it);
// what happens to it goes to a monitor.Connection. All sockets are opened by the node's Dialer, which knows the host rules
// and can close every one of them.
//
// Read first: Transport, Handler and Sink (transport.go), then Runner (runner.go, attempt.go) and the pure machine under it
// (machine.go; testdata/*.txt shows what goes in and comes out).
package client
