// Package mqtt is the transport of connection type mqtt, MQTT 3.1.1 (bindings.md 4), on eclipse/paho.mqtt.golang.
//
// Paho connects, subscribes, pings, publishes and receives. Around it stand: a wire that checks what the broker sends and
// collects what is sent (wire.go); acknowledgements in the order of arrival, once the messages are settled (acks.go); and
// queues with one goroutine each between paho and us in both directions, so that neither a blocked Consume nor a slow
// broker ever stops paho from taking an acknowledgement in. Paho's own reconnect is off: the Runner reconnects, whatever
// failoverEnabled says, and every Open has new paho clients, so no state of an old link survives but the broker's session.
//
// Read first: Transport (transport.go), then link (link.go).
package mqtt
