package signals

import (
	"hawser/actors/client"
	"hawser/messages/protocol"
)

// A broker message is settled by the worst grade among what was collected for it (contract runtime.md 4.3). A
// client.Settlement serves as the grade: its values are in the order of severity, Settle < Reject < RejectRedeliver.

// gradeFailed grades a failed acknowledgement: some statuses mean that another try may work.
func gradeFailed(status int) client.Settlement {
	if status == 408 || status == 424 || status >= 500 {
		return client.RejectRedeliver
	}
	return client.Reject
}

// gradeError grades an error that ended the processing of a signal.
func gradeError(status int) client.Settlement {
	if status == 412 {
		return client.Settle
	}
	return gradeFailed(status)
}

// gradeAck grades one acknowledgement. A live response was delivered whatever it says, unless it says that nobody answered.
func gradeAck(label string, status int) client.Settlement {
	switch {
	case label == protocol.LabelLiveResponse && status != 408, status < 400:
		return client.Settle
	default:
		return gradeFailed(status)
	}
}
