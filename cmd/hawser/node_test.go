package main

import (
	"slices"
	"testing"

	"hawser/gateway"
)

// TestQueryHeaders: the configuration's default and the gateway's own are the same list.
func TestQueryHeaders(t *testing.T) {
	if got := load(t, nil).HTTP.QueryHeaders; !slices.Equal(got, gateway.QueryHeaders) {
		t.Errorf("%v, the gateway has %v", got, gateway.QueryHeaders)
	}
}
