package mqttbinding

import (
	"errors"
	"fmt"
	"io"

	"hawser/actors/client"
)

// LinkFailure words an error of the socket; a *client.Failure stays what it is.
func LinkFailure(what string, cause error) *client.Failure {
	var known *client.Failure
	switch {
	case errors.As(cause, &known):
		return known
	case cause == nil:
		return &client.Failure{Text: what + "."}
	case errors.Is(cause, io.EOF), errors.Is(cause, io.ErrUnexpectedEOF):
		return client.NewFailure(what+": the broker closed it.", cause)
	default:
		return client.NewFailure(fmt.Sprintf("%s: %s.", what, cause), cause)
	}
}

// NoConnection is what a CONNECT did not lead to.
const NoConnection = "The connection to the broker could not be established"
