// Package mqtt5 is the transport of connection type mqtt-5, MQTT 5 (bindings.md 4), on eclipse/paho.golang: the part that
// hawser/actors/client/mqttbinding leaves to the versions of the protocol.
//
// Of the library it uses the codec (package packets). Its client (package paho) has no place here: it reserves memory for
// as many messages as the receive maximum, 0.5 MB for each connection with the 65535 that we announce; it sends
// acknowledgements every 50 ms or keeps a timer running; its Publish waits for the outcome and keeps no order between
// callers; and a broker can end the process with a CONNACK that names an authentication method.
//
// Read first: mqttbinding, then session (session.go), reading (reading.go) and properties.go.
package mqtt5
