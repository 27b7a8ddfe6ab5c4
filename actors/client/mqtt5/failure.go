package mqtt5

import (
	"fmt"
	"strings"

	"github.com/eclipse/paho.golang/packets"

	"hawser/actors/client"
)

// failureCodes are the reason codes from here on.
const failureCodes = 0x80

// reasons are the reason codes of all packets (MQTT 5, 2.4).
var reasons = map[byte]string{
	0x00: "normal disconnection",
	0x80: "unspecified error",
	0x81: "malformed packet",
	0x82: "protocol error",
	0x83: "implementation specific error",
	0x84: "it does not speak MQTT 5",
	0x85: "it does not accept the client id",
	0x86: "bad user name or password",
	0x87: "not authorized",
	0x88: "the server is unavailable",
	0x89: "the server is busy",
	0x8a: "the client is banned",
	0x8b: "the server is shutting down",
	0x8c: "bad authentication method",
	0x8d: "keep alive timeout",
	0x8e: "another client with the same client id has connected",
	0x8f: "invalid topic filter",
	0x90: "invalid topic name",
	0x91: "packet identifier in use",
	0x92: "packet identifier not found",
	0x93: "receive maximum exceeded",
	0x94: "invalid topic alias",
	0x95: "packet too large",
	0x96: "message rate too high",
	0x97: "quota exceeded",
	0x98: "administrative action",
	0x99: "invalid payload format",
	0x9a: "retained messages are not supported",
	0x9b: "the QoS is not supported",
	0x9c: "use another server",
	0x9d: "the server has moved",
	0x9e: "shared subscriptions are not supported",
	0x9f: "connection rate exceeded",
	0xa0: "maximum connect time",
	0xa1: "subscription identifiers are not supported",
	0xa2: "wildcard subscriptions are not supported",
}

// maxReason is how much is shown of what the broker says itself.
const maxReason = 200

// reason words a reason code, with what the broker says itself.
func reason(code byte, p *packets.Properties) string {
	text, ok := reasons[code]
	if !ok {
		text = fmt.Sprintf("reason code 0x%02x", code)
	}
	if own := p.ReasonString; own != "" {
		text += ", " + strings.ToValidUTF8(own[:min(len(own), maxReason)], "")
	}
	return text
}

// refusal is a refusal of the broker: for the user to fix (runtime.md 11).
func refusal(what string, code byte, p *packets.Properties) error {
	return &client.Failure{Text: fmt.Sprintf("%s: %s.", what, reason(code, p)), UserIndicated: true}
}

// refused is nil unless the broker did not take a message.
func refused(code byte, p *packets.Properties) error {
	if code < failureCodes {
		return nil
	}
	return refusal("The broker refused the message", code, p)
}
