package mqttbinding

import (
	"context"

	"hawser/messages"
)

// Version is a version of MQTT.
type Version interface {
	// Connect says CONNECT on the wire of l, waits for the answer and begins to read: messages and acknowledgements go to
	// l, an error to the wire. The end of ctx closes the wire. On error nothing of the session runs any more, and the error
	// is a *client.Failure when the broker has refused.
	Connect(ctx context.Context, l *Link, login Login) (Session, Welcome, error)
	// Properties renders what a PUBLISH carries between packet id and payload. An error refuses the message.
	Properties(h messages.Headers, topic string, qos byte, retain bool) ([]byte, error)
}

// Session is a link's conversation with the broker beside the messages.
type Session interface {
	// Subscribe asks for all filters in one SUBSCRIBE. It returns those that the broker refused, with its reason if it said
	// one; the error of a link that broke is the wire's to tell.
	Subscribe(ctx context.Context, filters []string, qos byte) (refused []string, err error)
	// Disconnect says DISCONNECT, closes the wire and returns when nothing of the session runs any more.
	Disconnect()
}

// Login is what CONNECT says.
type Login struct {
	ClientID       string
	Clean          bool // a session that the broker has is not resumed
	Forget         bool // nor is this one kept: the end of the old one is all that is wanted
	User, Password string
	KeepAlive      uint16 // seconds, 0: none
	Will           *Will
	MaxPacket      int // bytes of a packet that is taken from the broker
}

// Welcome is what the broker said when it accepted.
type Welcome struct {
	Present   bool // it has resumed a session
	InFlight  int  // publishes that it takes without having acknowledged them
	MaxQoS    byte
	Retain    bool // it keeps retained messages
	MaxPacket int  // bytes of a packet that it takes
}

// Unlimited is the welcome of a broker that has no limits but those of the protocol.
func Unlimited() Welcome {
	return Welcome{InFlight: maxFlight, MaxQoS: 2, Retain: true, MaxPacket: maxLength}
}

// Message is a PUBLISH of the broker.
type Message struct {
	Topic   string
	QoS     byte
	Retain  bool
	ID      uint16           // packet id, of no meaning with QoS 0
	Headers messages.Headers // what the version carries besides, nil if nothing; taken over
	Payload []byte           // taken over
}
