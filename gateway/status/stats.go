package status

import (
	"net/http"

	"hawser/gateway"
)

// Stats serves /stats/things, /stats/things/details and /stats/search (contract http-api.md 10.2). What upstream counts there
// are things, policies and search indexes, never connections (operations.md 7.3): none of them lives here, so that the counts
// are 0. The details are for operators only.
func Stats(operators *gateway.Realm) http.Handler {
	everybody := (*gateway.Realm)(nil)
	things := gateway.Route{Realm: everybody, Handler: counts(struct {
		Things    int `json:"hotThings"`
		Policies  int `json:"hotPolicies"`
		Wildcards int `json:"hotSearchWildcardUpdaters"`
	}{})}
	routes := map[string]gateway.Route{
		"/stats/things":         things,
		"/stats/things/":        things,
		"/stats/things/details": {Realm: operators, Handler: counts(struct{}{})}, // by namespace: there is none
		"/stats/search": {Realm: everybody, Handler: counts(struct {
			All int `json:"allThingsCount"`
		}{})},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		route, ok := routes[r.URL.Path]
		switch {
		case !ok:
			gateway.WriteNotFound(w)
		case r.Method != http.MethodGet:
			gateway.WriteMethodNotAllowed(w, http.MethodGet)
		case route.Realm.Admit(w, r):
			route.Handler.ServeHTTP(w, r)
		}
	})
}

func counts(body any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { write(w, http.StatusOK, body) })
}
