package validation

import (
	"encoding/json"
	"strings"

	"hawser/messages"
)

// hmacParameters are the parameters that each algorithm needs (connection-model.md 6).
var hmacParameters = map[string][]string{
	"aws4-hmac-sha256":      {"region", "service", "accessKey", "secretKey"},
	"az-monitor-2016-04-01": {"workspaceId", "sharedKey"},
	"az-sasl":               {"sharedKeyName", "sharedKey", "endpoint"},
}

// amqp10HMAC is V32 as far as HMAC parameters go. Whether jms., amqp. and transport. options are usable is not known here.
func amqp10HMAC(_ *Rules, c *messages.Connection) error {
	k := c.Credentials
	if k == nil || k.Type != messages.CredentialsHMAC {
		return nil
	}
	var parameters map[string]any
	if err := json.Unmarshal(k.Parameters, &parameters); err != nil {
		return invalid("/credentials/parameters", "The HMAC parameters of connection '%s' are not an object.", c.ID)
	}
	var missing []string
	for _, name := range hmacParameters[k.Algorithm] {
		if text, ok := parameters[name].(string); !ok || text == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return invalid("/credentials/parameters", "The HMAC algorithm '%s' needs the parameters %s.", k.Algorithm, strings.Join(missing, ", "))
	}
	return nil
}
