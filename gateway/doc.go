// Package gateway is the HTTP side: listeners and their limits, authentication, statuses and error shapes. It knows the
// commands (messages) and asks for their execution through an Asker; it does not know actors, stores or brokers.
//
// The routes are sub-packages: connections (the REST API), devops (piggyback commands) and status (views; probes and metrics on
// addresses of their own). oidc checks operators' tokens. The API's pipeline is the same for all its routes (contract
// http-api.md 1): first path segment, authentication, then the route, which checks method, query, body in this order.
//
// Read first: Asker and Reader (asker.go), API and Route (api.go), Realm (auth.go), CheckHeader (headers.go), Server (server.go).
package gateway
