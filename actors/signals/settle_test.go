package signals

import (
	"testing"

	"hawser/actors/client"
)

// TestGrades is contract runtime.md 4.3.
func TestGrades(t *testing.T) {
	for _, row := range []struct {
		name string
		got  client.Settlement
		want client.Settlement
	}{
		{"acknowledged", gradeAck("a:b", 200), client.Settle},
		{"acknowledged without content", gradeAck("a:b", 204), client.Settle},
		{"not modified is no failure", gradeAck("a:b", 304), client.Settle},
		{"failed for good", gradeAck("a:b", 400), client.Reject},
		{"forbidden", gradeAck("a:b", 403), client.Reject},
		{"conflict", gradeAck("a:b", 409), client.Reject},
		{"failed for a while: timeout", gradeAck("a:b", 408), client.RejectRedeliver},
		{"failed dependency", gradeAck("a:b", 424), client.RejectRedeliver},
		{"server error", gradeAck("a:b", 500), client.RejectRedeliver},
		{"unavailable", gradeAck("a:b", 503), client.RejectRedeliver},
		{"live responder answers 500", gradeAck("live-response", 500), client.Settle},
		{"live responder answers 404", gradeAck("live-response", 404), client.Settle},
		{"live responder answers 424", gradeAck("live-response", 424), client.Settle},
		{"nobody answers", gradeAck("live-response", 408), client.RejectRedeliver},
		{"error: precondition", gradeError(412), client.Settle},
		{"error: not found", gradeError(404), client.Reject},
		{"error: timeout", gradeError(408), client.RejectRedeliver},
		{"error: dependency", gradeError(424), client.RejectRedeliver},
		{"error: internal", gradeError(500), client.RejectRedeliver},
		{"an acknowledgement of 412 is a failure", gradeAck("a:b", 412), client.Reject},
	} {
		if row.got != row.want {
			t.Errorf("%s: %v, want %v", row.name, row.got, row.want)
		}
	}
}
