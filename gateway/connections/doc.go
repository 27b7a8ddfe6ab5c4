// Package connections is the REST API /api/2/connections (contract http-api.md 1 to 9): the commands of the piggyback
// surface in another rendering. Every request becomes commands to a gateway.Asker, always as sudo; the status of their
// reply is the HTTP status. Only a list reads connections past their entities, through a gateway.Reader. The package serves
// everything below /api, the OpenAPI document of all this among it.
//
// Read first: Handler.ServeHTTP (handler.go: the order of the checks, which clients can see), the route table (routes.go),
// then what a route does: write.go, read.go, list.go. request.go turns headers and query parameters into headers of the
// command, ask.go has commands executed, answer.go renders replies.
package connections
