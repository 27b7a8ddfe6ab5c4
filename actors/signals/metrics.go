package signals

import "github.com/prometheus/client_golang/prometheus"

// The series of links between nodes.
var (
	linkOpenDesc     = prometheus.NewDesc("relay_link_frames_open", "Relayed signals on their way to another node that have no outcome yet.", nil, nil)
	linkBytesDesc    = prometheus.NewDesc("relay_link_bytes_open", "Their size.", nil, nil)
	linkHeldDesc     = prometheus.NewDesc("relay_held", "Signals that are held for clients that are expected here or elsewhere.", nil, nil)
	linkSentDesc     = prometheus.NewDesc("relay_link_sent_total", "Signals relayed to other nodes, repetitions not counted.", nil, nil)
	linkArrivedDesc  = prometheus.NewDesc("relay_link_arrived_total", "Signals relayed here by other nodes, repetitions not counted.", nil, nil)
	linkResentDesc   = prometheus.NewDesc("relay_link_resent_total", "Frames sent again because they were lost.", nil, nil)
	linkReturnedDesc = prometheus.NewDesc("relay_link_returned_total", "Signals taken back from a link because the connection is elsewhere.", nil, nil)
	linkDroppedDesc  = prometheus.NewDesc("relay_link_dropped_total", "Signals of QoS 0 sources dropped because the window to a connection at another node was full.", nil, nil)
)

// Describe implements prometheus.Collector.
func (h *Hub) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		linkOpenDesc, linkBytesDesc, linkHeldDesc, linkSentDesc, linkArrivedDesc, linkResentDesc, linkReturnedDesc, linkDroppedDesc,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (h *Hub) Collect(ch chan<- prometheus.Metric) {
	var open, bytes, held int
	h.links.mu.Lock()
	links := make([]*link, 0, len(h.links.to))
	for _, l := range h.links.to {
		links = append(links, l)
	}
	h.links.mu.Unlock()
	for _, l := range links {
		l.mu.Lock()
		open += l.out.open()
		bytes += l.out.bytes
		l.mu.Unlock()
	}
	h.mu.Lock()
	for _, r := range h.receivers {
		r.mu.Lock()
		held += len(r.held)
		r.mu.Unlock()
	}
	h.mu.Unlock()
	gauge := func(d *prometheus.Desc, n int) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n))
	}
	counter := func(d *prometheus.Desc, n int64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n))
	}
	gauge(linkOpenDesc, open)
	gauge(linkBytesDesc, bytes)
	gauge(linkHeldDesc, held)
	c := &h.links.counts
	counter(linkSentDesc, c.sent.Load())
	counter(linkArrivedDesc, c.arrived.Load())
	counter(linkResentDesc, c.resent.Load())
	counter(linkReturnedDesc, c.returned.Load())
	counter(linkDroppedDesc, c.dropped.Load())
}
