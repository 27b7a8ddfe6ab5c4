// Package gateway is the HTTP side: listeners and their limits, authentication, statuses and error shapes. It knows the
// commands (messages) and asks for their execution through an Asker; it does not know actors, stores or brokers.
//
// The routes are sub-packages: devops (piggyback commands) on the API's address, status (probes and metrics) on addresses of
// their own. The API's pipeline is the same for all its routes (contract http-api.md 1): first path segment, authentication,
// then the route, which checks method, query, body in this order.
//
// Read first: Asker (asker.go), API and Route (api.go), Realm (auth.go), Server (server.go).
package gateway
