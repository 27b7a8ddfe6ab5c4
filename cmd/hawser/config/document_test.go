package config

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestDocument: the paths of the contract are there, and nothing secret is, wherever it came from.
func TestDocument(t *testing.T) {
	const secret = "s3cr3t-word"
	loaded, err := Load(Sources{
		Environ: []string{"DEVOPS_PASSWORD=" + secret, "CLEANUP_QUIET_PERIOD=7s", "CONNECTIVITY_CONNECTION_ENCRYPTION_KEY=" + secret}, Hostname: func() (string, error) { return "box", nil },
		Flags: map[string]string{"postgres.url": "postgres://me:" + secret + "@db/x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	text := loaded.Document(Process{
		Service: "connectivity", Instance: "box",
		Args: []string{"hawser", "serve", "-D", "postgres.url=postgres://me:" + secret + "@db/x", "-Ddevops.password=" + secret, "--config=a.yml", "x://u:" + secret + "@h"},
		Environ: []string{
			"DEVOPS_PASSWORD=" + secret, "HAWSER_POSTGRES_URL=postgres://me:" + secret + "@db/x", "MY_API_KEY=" + secret, "some_token=" + secret,
			"CONSUL_URI=" + secret, "client_secret=" + secret, "LIBRARY_DSN=host=db password=" + secret + " user=me", "PROXY=http://u:" + secret + "@proxy:8080/x",
			"ODD=http://u:a/" + secret + "@proxy", "PATH=/bin", "EMPTY_PASSWORD=",
		},
		Fingerprints: map[string]string{"connection.encryption.symmetrical-key": "f1n6e4"},
	})
	if strings.Contains(string(text), secret) {
		t.Errorf("the secret is shown: %s", text)
	}
	var document struct {
		Ditto struct {
			Name string `json:"service-name"`
			Info struct {
				Service map[string]string `json:"service"`
				Args    []string          `json:"vm-args"`
				Env     map[string]string `json:"env"`
			} `json:"info"`
			DevOps       map[string]any `json:"devops"`
			Connectivity struct {
				Connection struct {
					Cleanup    map[string]any `json:"cleanup"`
					Encryption map[string]any `json:"encryption"`
				} `json:"connection"`
			} `json:"connectivity"`
		} `json:"ditto"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	d := document.Ditto
	if d.Name != "connectivity" || d.Info.Service["name"] != "connectivity" || d.Info.Service["instance-id"] != "box" {
		t.Errorf("service: %+v", d)
	}
	if d.Info.Env["PATH"] != "/bin" || d.Info.Env["DEVOPS_PASSWORD"] != "*****" || d.Info.Env["EMPTY_PASSWORD"] != "" || d.Info.Env["PROXY"] != "http://*****@proxy:8080/x" {
		t.Errorf("env: %v", d.Info.Env)
	}
	if len(d.Info.Args) != 7 || d.Info.Args[5] != "--config=a.yml" {
		t.Errorf("args: %v", d.Info.Args)
	}
	if shown := d.Connectivity.Connection.Encryption; shown["symmetrical-key"] != "f1n6e4" || shown["old-symmetrical-key"] != "" {
		t.Errorf("keys: %v", shown)
	}
	if d.Connectivity.Connection.Cleanup["quiet-period"] != "7s" || d.DevOps["password"] != "*****" {
		t.Errorf("values: %v %v", d.Connectivity, d.DevOps)
	}
}
