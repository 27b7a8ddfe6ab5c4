// Package gateway is the HTTP side: authentication, envelopes, statuses and error shapes. It knows the commands
// (messages) and asks for their execution through an Asker; it does not know actors, stores or brokers.
package gateway
