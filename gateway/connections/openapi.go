package connections

import (
	_ "embed"
	"net/http"

	"hawser/gateway"
)

// Document is the OpenAPI 3 description of this package's API and of the operator endpoints of package status.
//
//go:embed openapi.json
var Document []byte

// documentName is where it is served, below /api/2/, to everybody.
const documentName = "openapi.json"

func serveDocument(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		gateway.WriteMethodNotAllowed(w, http.MethodGet)
		return
	}
	gateway.WriteJSON(w, http.StatusOK, Document)
}
