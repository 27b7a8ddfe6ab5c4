package monitor

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// The series of operations.md 9 that belong to messages and clients.
var (
	messagesDesc = prometheus.NewDesc("connection_messages_total", "Messages by what happened to them, summed over addresses.",
		[]string{"id", "type", "category", "direction", "success"}, nil)
	connectedDesc = prometheus.NewDesc("connection_client", "Clients of the connection that are connected on this instance.",
		[]string{"id", "type"}, nil)
	connectingDesc = prometheus.NewDesc("connecting_client", "Clients of the connection that are connecting on this instance.",
		[]string{"id", "type"}, nil)
)

// Describe implements prometheus.Collector.
func (r *Registry) Describe(ch chan<- *prometheus.Desc) {
	ch <- messagesDesc
	ch <- connectedDesc
	ch <- connectingDesc
	ch <- mappingDesc
	ch <- acksDesc
	ch <- unsettledDesc
}

// Collect implements prometheus.Collector: the series of connections of which a client runs on this node, none of others. All
// combinations of category, direction and success of a running client are there from the start, so that rate() sees the
// first message.
func (r *Registry) Collect(ch chan<- prometheus.Metric) {
	for _, c := range r.connections() {
		if g, runs := c.gauges(); runs {
			c.collect(ch, g)
		}
	}
}

func (c *Connection) collect(ch chan<- prometheus.Metric, g gauges) {
	typ := *c.typ.Load()
	ch <- prometheus.MustNewConstMetric(connectedDesc, prometheus.GaugeValue, float64(g.connected), c.id, typ)
	ch <- prometheus.MustNewConstMetric(connectingDesc, prometheus.GaugeValue, float64(g.connecting), c.id, typ)
	inbound, outbound := c.all()
	series := func(scopes []*Scope, metrics []Metric, direction string) {
		for _, m := range metrics {
			for _, success := range []bool{false, true} {
				var n uint64
				for _, s := range scopes {
					if counter := s.counters[m][outcome(success)].Load(); counter != nil {
						n += counter.total.Load()
					}
				}
				ch <- prometheus.MustNewConstMetric(messagesDesc, prometheus.CounterValue, float64(n),
					c.id, typ, metricNames[m], direction, strconv.FormatBool(success))
			}
		}
	}
	series(inbound, inboundMetrics, "inbound")
	series(outbound, outboundMetrics, "outbound")
	c.collectTimers(ch, typ)
}
