// Package mqttbinding is what the transports of MQTT 3.1.1 and MQTT 5 have in common (bindings.md 4): options, topic
// filters, the links to the broker, acknowledgements in order, publishes in flight, the reconnect for redelivery.
//
// A version of the protocol is a package of its own that implements Version and Session: it says CONNECT and SUBSCRIBE,
// reads what the broker sends and tells the Link of messages and acknowledgements. What is written goes through the Wire,
// which never blocks. Nothing that Consume or a slow broker does stops the reading goroutine, so two connections that
// relay to each other through one broker cannot wait for each other in a circle.
//
// The Runner reconnects, whatever failoverEnabled says, and every Open has new links, so that no state of an old one
// survives but the broker's session.
//
// Read first: Version and Session (version.go), Transport (transport.go), then Link (link.go) and Wire (wire.go).
package mqttbinding
