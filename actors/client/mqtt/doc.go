// Package mqtt is the transport of connection type mqtt, MQTT 3.1.1 (bindings.md 4), on eclipse/paho.mqtt.golang: the part
// that hawser/actors/client/mqttbinding leaves to the versions of the protocol.
//
// Paho connects, subscribes, pings and disconnects. Messages and their acknowledgements go past it, on the socket that it
// shares with us (wire.go): inside paho each of them crosses five goroutines, an acknowledgement may block, and publishes
// without outcome are forgotten when the link breaks. Paho's own reconnect is off.
//
// Read first: mqttbinding, then version and session (session.go) and wire (wire.go).
package mqtt
