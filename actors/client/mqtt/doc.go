// Package mqtt is the transport of connection type mqtt, MQTT 3.1.1 (bindings.md 4), on eclipse/paho.mqtt.golang.
//
// Paho connects, subscribes, pings and disconnects. Messages and their acknowledgements go past it, on the socket that it
// shares with us (wire.go): inside paho each of them crosses five goroutines, an acknowledgement may block, and publishes
// without outcome are forgotten when the link breaks. Acknowledgements leave in the order of arrival, once the messages
// are settled (acks.go). Nothing that Consume or a slow broker does stops the reading goroutine, so two connections that
// relay to each other through one broker cannot wait for each other in a circle.
//
// Paho's own reconnect is off: the Runner reconnects, whatever failoverEnabled says, and every Open has a new paho client,
// so that no state of an old link survives but the broker's session.
//
// Read first: Transport (transport.go), then link (link.go) and wire (wire.go).
package mqtt
