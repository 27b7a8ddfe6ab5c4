package validation

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"hawser/messages"
)

// amqp10Algorithm is the one HMAC algorithm that AMQP 1.0 can authenticate with (bindings.md 8).
const amqp10Algorithm = "az-sasl"

// amqp10HMAC is V32 for HMAC parameters: other than http-push an AMQP connection needs them when it is made.
func amqp10HMAC(_ *Rules, c *messages.Connection) error {
	k := c.Credentials
	if k == nil || k.Type != messages.CredentialsHMAC {
		return nil
	}
	if k.Algorithm != amqp10Algorithm {
		return invalid("/credentials/algorithm", "Connections of type %s cannot use the HMAC algorithm '%s', they can use '%s'.", c.Type, k.Algorithm, amqp10Algorithm)
	}
	const place = "/credentials/parameters"
	var parameters map[string]any
	if err := json.Unmarshal(k.Parameters, &parameters); err != nil {
		return invalid(place, "The HMAC parameters of connection '%s' are not an object.", c.ID)
	}
	var missing []string
	for _, name := range []string{"sharedKeyName", "sharedKey", "endpoint"} {
		if text, ok := parameters[name].(string); !ok || text == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return invalid(place, "The HMAC algorithm '%s' needs the parameters %s.", k.Algorithm, strings.Join(missing, ", "))
	}
	if _, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(parameters["sharedKey"].(string), "=")); err != nil {
		return invalid(place+"/sharedKey", "The HMAC parameter 'sharedKey' is not base64.")
	}
	if ttl, given := parameters["ttl"]; given && ttl != nil {
		text, isText := ttl.(string)
		if _, err := messages.ParseDuration(text); err != nil || !isText {
			return invalid(place+"/ttl", "The HMAC parameter 'ttl' is not a duration such as 7d.")
		}
	}
	return nil
}

// amqp10Options are the options of the AMQP 1.0 client that are honoured and are numbers, with the smallest value that each
// may have (bindings.md 3.2). Any other key of these families is accepted and ignored.
var amqp10Options = []struct {
	key      string
	fraction bool
	least    float64
}{
	{"jms.connectTimeout", false, -1}, {"jms.sendTimeout", false, -1}, {"jms.requestTimeout", false, -1}, // -1: no limit
	{"amqp.idleTimeout", false, -1}, {"amqp.maxFrameSize", false, -1}, // -1: the default of the client
	{"failover.startupMaxReconnectAttempts", false, -1}, {"failover.maxReconnectAttempts", false, -1},
	{"failover.initialReconnectDelay", false, 0}, {"failover.reconnectDelay", false, 0}, {"failover.maxReconnectDelay", false, 0},
	{"failover.reconnectBackOffMultiplier", true, 0},
}

// amqp10SpecificConfig is V32 for the options of the client.
func amqp10SpecificConfig(_ *Rules, c *messages.Connection) error {
	for _, o := range amqp10Options {
		text, ok := c.SpecificConfig[o.key]
		if !ok {
			continue
		}
		kind := "an integer"
		var n float64
		var err error
		if o.fraction {
			kind = "a number"
			n, err = strconv.ParseFloat(text, 64)
		} else {
			var whole int64
			whole, err = strconv.ParseInt(text, 10, 64)
			n = float64(whole)
		}
		if err != nil || !(n >= o.least) { // not a number at all, too
			return invalid("/specificConfig/"+o.key, "The value '%s' of '%s' has to be %s of at least %s.", text, o.key, kind, fmt.Sprint(o.least))
		}
	}
	return nil
}
