package validation

import (
	"slices"
	"strings"

	"hawser/messages"
)

// The aliases of Hono addresses (V29).
var (
	honoAliases = []string{"telemetry", "event", "command_response"}
	honoCommand = "command"
)

func honoSource(_ *Rules, c *messages.Connection, i int) error {
	s := &c.Sources[i]
	for _, address := range s.Addresses {
		if !slices.Contains(honoAliases, address) {
			return invalid(sourceAt(i)+"/addresses", "The source address <%s> is not valid, it has to be one of the aliases %s.", address, strings.Join(honoAliases, ", "))
		}
	}
	if s.QoS != nil && !qosValid(s.QoS, 1) {
		return invalid(sourceAt(i)+"/qos", "Source %d of connection '%s' has the qos <%d>, it has to be 0 or 1.", i, c.ID, *s.QoS)
	}
	return nil
}

func honoTarget(_ *Rules, c *messages.Connection, i int) error {
	t := &c.Targets[i]
	if t.Address != honoCommand {
		return invalid(targetAt(i)+"/address", "The target address <%s> is not valid, it has to be <%s>.", t.Address, honoCommand)
	}
	return nil
}
