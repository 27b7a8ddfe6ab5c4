package validation

import (
	"cmp"
	"time"

	"hawser/messages"
	"hawser/messages/mapping"
)

// Rules are the limits of a service (connection-model.md 15). Zero fields take the defaults named here.
type Rules struct {
	MaxSources int // connection.max-source-number, 4
	MaxTargets int // connection.max-target-number, 4
	// MaxSourceMappers and MaxTargetMappers bound a payloadMapping (mapping.mapper-limits.max-source-mappers and
	// .max-target-mappers, 10 each).
	MaxSourceMappers, MaxTargetMappers int
	// Host says why a host must not be reached (V10, 14.3); nil: every host may be. It may take its time to resolve a name.
	Host func(host string) error
	// Mapping bounds payload mappers; zero: mapping.DefaultLimits.
	Mapping mapping.Limits
	// HMACAlgorithms are the algorithms of V13c (http-push.hmac-algorithms, the three of connection-model.md 6).
	HMACAlgorithms []string
	// RequestTimeout is the upper bound of idleTimeout (http-push.request-timeout, 60s).
	RequestTimeout time.Duration
	// InsecureTokenEndpoints allows token endpoints that are not https (the opposite of http-push.oauth2.enforce-https).
	InsecureTokenEndpoints bool
}

func (r Rules) withDefaults() Rules {
	r.MaxSources, r.MaxTargets = cmp.Or(r.MaxSources, 4), cmp.Or(r.MaxTargets, 4)
	r.MaxSourceMappers, r.MaxTargetMappers = cmp.Or(r.MaxSourceMappers, 10), cmp.Or(r.MaxTargetMappers, 10)
	r.Mapping = cmp.Or(r.Mapping, mapping.DefaultLimits)
	r.RequestTimeout = cmp.Or(r.RequestTimeout, time.Minute)
	if r.HMACAlgorithms == nil {
		r.HMACAlgorithms = []string{"aws4-hmac-sha256", "az-monitor-2016-04-01", "az-sasl"}
	}
	return r
}

// rule is one step of the validation. Its error is a *messages.Error.
type rule func(r *Rules, c *messages.Connection) error

// general are the rules that concern every type, in the order of 14.2. The protocol's own follow.
var general = []rule{
	limits,           // V01, V02
	sourceAddresses,  // V03
	targetAddresses,  // V04
	filters,          // V05
	mapperLimits,     // V06
	labels,           // V07, V08
	certificates,     // V09
	hosts,            // V10
	tunnel,           // V11, V12
	hmacCredentials,  // V13
	oauthCredentials, // V14
	diversion,        // V15
}

// Validate returns the first rule that c breaks as a *messages.Error, nil if c may be stored and opened.
func (r Rules) Validate(c *messages.Connection) error {
	r = r.withDefaults()
	for _, check := range general {
		if err := check(&r, c); err != nil {
			return err
		}
	}
	p, ok := protocols[c.Type]
	if !ok { // cannot happen: parsing accepts known types only
		return messages.NewConnectionFailed(c.ID, "There is no protocol of that type.")
	}
	return p.validate(&r, c)
}
