package actors

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"hawser/actors/migration"
	"hawser/messages"
	"hawser/persistence"
	"hawser/persistence/encryption"
)

// migrationShard is the shard of the singleton encryptionMigration: whoever owns it runs the migration of the cluster
// (design.md 3.3, decision D22).
var migrationShard = persistence.ShardRef{Kind: persistence.KindSingleton, Number: 0}

// singletonShards is the number of singletons.
const singletonShards = 1

// EncryptionOptions say how secrets are kept (contract encryption.md 1).
type EncryptionOptions struct {
	// Keys seal and unseal the secrets in events and snapshots; nil: they are kept in clear.
	Keys *encryption.Keys
	// BatchSize and PerMinute are the pace of a migration (decision D27), LiveShare is the percentage of its time that it works
	// while connections are written.
	BatchSize, PerMinute, LiveShare int
}

func (o EncryptionOptions) withDefaults() (EncryptionOptions, error) {
	if o.Keys != nil {
		return o, nil
	}
	var err error
	o.Keys, err = encryption.OpenKeys(encryption.Settings{})
	return o, err
}

// newMigration makes the singleton of this node; it runs while the node owns its shard.
func (n *Node) newMigration(o EncryptionOptions) *migration.Runner {
	return migration.New(migration.Options{
		Store: n.opts.Store, Ring: o.Keys.Ring, Fingerprints: n.fingerprints, BatchSize: o.BatchSize, PerMinute: o.PerMinute, LiveShare: o.LiveShare,
		Lease: func() (persistence.Lease, bool) { return n.membership.Table().Lease(migrationShard) }, Log: logOf(n.log, "migration"),
	})
}

// askMigration executes a command at the singleton, wherever it is.
func (n *Node) askMigration(ctx context.Context, c messages.Command) (messages.Reply, error) {
	return n.insist(ctx, firstAttempt, func(ctx context.Context, attempt time.Duration) (messages.Reply, error) {
		if _, here := n.membership.Table().Lease(migrationShard); here {
			return n.migration.Ask(ctx, c)
		}
		owner, ok := n.membership.View().Owner(migrationShard)
		if !ok || n.wire == nil || owner.Address == n.system.Address() {
			return messages.Reply{}, errElsewhere
		}
		ctx, cancel := context.WithTimeout(ctx, attempt)
		defer cancel()
		return n.wire.ask(ctx, actor.NewPID(owner.Address, migrationPath), c, 0)
	})
}

// migrationPath is the name of the actor that takes what other nodes ask of the singleton.
var migrationPath = strings.TrimPrefix(messages.TargetEncryption, "/")

// encryptionKeys is the target that every node has for the comparison of keys (decision D29). No envelope can name it.
const encryptionKeys = "/user/connectivityRoot/encryptionKeys"

// fingerprint answers with the fingerprint of this node's ring, never with a key.
func (n *Node) fingerprint(context.Context, messages.Command) (messages.Reply, error) {
	body, err := json.Marshal(n.opts.Encryption.Keys.Ring().Fingerprint())
	return messages.Reply{Status: 200, Body: body}, err
}

// fingerprints asks all live members.
func (n *Node) fingerprints(ctx context.Context) (map[string]string, error) {
	all := map[string]string{}
	question := messages.NodeCommand("fingerprint", json.RawMessage(`{"type":"fingerprint"}`), messages.Headers{})
	for _, instance := range n.Instances() {
		reply, err := n.AskInstance(ctx, instance, encryptionKeys, question)
		var text string
		if err == nil {
			err = json.Unmarshal(reply.Body, &text)
		}
		if err != nil {
			return nil, fmt.Errorf("the keys of instance %s: %w", instance, err)
		}
		all[instance] = text
	}
	return all, nil
}
