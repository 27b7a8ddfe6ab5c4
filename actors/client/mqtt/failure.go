package mqtt

import (
	"fmt"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"hawser/actors/client"
)

// refusals are the codes with which a broker refuses CONNECT (MQTT 3.1.1, 3.2.2.3): all for the user to fix.
var refusals = map[byte]string{
	packets.ErrRefusedBadProtocolVersion:    "it does not speak MQTT 3.1.1",
	packets.ErrRefusedIDRejected:            "it does not accept the client id",
	packets.ErrRefusedServerUnavailable:     "the server is unavailable",
	packets.ErrRefusedBadUsernameOrPassword: "bad user name or password",
	packets.ErrRefusedNotAuthorised:         "not authorized",
}

// connectFailure is why a CONNECT did not succeed. cause is what the wire said, nil if nothing.
func connectFailure(token mqtt.Token, cause error) error {
	if t, ok := token.(*mqtt.ConnectToken); ok {
		if reason, refused := refusals[t.ReturnCode()]; refused {
			return &client.Failure{Text: fmt.Sprintf("The broker refused the connection: %s.", reason), UserIndicated: true}
		}
	}
	if cause != nil {
		return cause
	}
	return token.Error()
}
