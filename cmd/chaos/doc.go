// Chaos runs a cluster of real hawser processes with their own PostgreSQL and Mosquitto, puts traffic and commands on it,
// breaks it on purpose and says whether anything broke that must not (issue 3, design.md 3.2, 6.1 and 9).
//
//	go run ./cmd/chaos                      every scenario three times: about 40 minutes
//	go run ./cmd/chaos -short               kill, stop, drain, kill with drain, and one cut, once each: about two minutes
//	go run ./cmd/chaos -scenario stop,steal -rounds 1 -keep /tmp/chaos -json -
//	go run ./cmd/chaos -list                the scenarios
//
// The exit code is 0 when everything allowed 0 times happened 0 times and the times were within their budgets, 1 when not,
// 2 when the program itself could not do its work. -short reports times without judging them, -times=… decides otherwise.
//
// # What runs
//
//	8 command clients ──HTTP──▶ n1 n2 n3 ──▶ PostgreSQL ◀── journal and lease checks
//	publisher ──▶ Mosquitto ◀── tap ◀── sources and targets of the relays on n1 n2 n3
//	subscriber ◀─┘
//
// Half of the -connections are sources, half are targets; source i relays to target i and to nobody else. The publisher
// numbers its messages and keeps those that Mosquitto acknowledged; each of them must reach the subscriber at least once.
//
// Every 5th target, every 8th source and every 4th connection of the command clients is of type mqtt-5 with clientCount 2
// (-two-clients=false: none), all others are mqtt. Their two clients live on two nodes under client ids of their own (decision
// O18). The messages of a relay are of four entities, so that both clients of a target get some. The two clients of a source share
// a subscription ($share/chaos/…), for with a plain one each would get every message. Mosquitto deals the messages of a shared
// subscription out in turn to all its sessions, also to those whose client is away: these wait for that client, like those
// that it had without acknowledgement, and nobody else gets them.
//
// The nodes reach Mosquitto through the tap only: a TCP relay that reads the CONNECT packet of each link. That, rather than
// the broker's log, is the broker's side of the story, because it can ask the kernel whether the earlier link of the same
// client was still up when the next CONNECT arrived. A broker that reads two sockets in one turn cannot tell a link whose
// end it has not read yet from one that is really up, and Mosquitto's log does not try. An embedded mochi-mqtt could, but
// (2.7.9) a QoS 1 message published between its copying an old session and registering the new client is gone, and this
// program would blame Hawser.
//
// # Networks
//
// With root, each node lives in a network namespace of its own with three links: to PostgreSQL, to its peers, and to the
// rest (HTTP, metrics, broker). A cut takes the link off its bridge: packets vanish in both directions and nobody is told; cut-one-way
// gives a node a route to nowhere for one of its peers instead.
// The broker and the HTTP port of a cut node stay reachable, so a node that should have stopped is seen if it has not.
// Without root all nodes share the loopback and links to PostgreSQL and to peers pass through TCP relays that stop copying
// ("proxies"). Scenario kill-proved runs on plain loopback, where the peers can prove the death of a process; in a namespace
// they cannot (the address is on none of their interfaces), which is how the loss of a host looks.
//
// # Two faults at once
//
// Some scenarios have a second fault overlap with the first one. It comes when the node concerned says in its log what it is about to do
// (that it has claimed shards, for one), at once in the first round and up to 100 ms later in the others: what is lost there is lost in a
// window of milliseconds. The limits of the times are those of the graver fault and count from the first one. -rounds 20 or more
// is the way to look for what shows rarely.
//
// # How to read the table
//
// One line per scenario, sums over its rounds; the rightmost columns are the worst round's. Columns with a limit of 0:
//
//	double clients   a CONNECT of a client id whose earlier link was up. "+40f" are links of a node under SIGSTOP, which
//	                 cannot act and so are not counted; "+2c" are links of a node that is cut off: counted, it could have acted.
//	                 Also a client id beyond the clientCount of its connection, at whatever time: with at most that many ids
//	                 and one link for each there are never more clients; and a client 5 s after its connection was deleted
//	double active    nodes whose metrics showed more clients of a connection than its clientCount, some before and after another
//	missing, twice   commands answered with success whose event is not in the journal; whose event is there twice
//	not linear.      connections whose history no order of its commands explains; "?" are those that porcupine gave up on
//	journal          gaps in sequence numbers and epochs that went back
//	lost             messages the broker had acknowledged and the subscriber never got
//	failed           commands that failed at a live node while nothing but a planned move (or nothing at all) happened
//	not back         processes that ended or did not become ready by themselves, a cluster that did not settle, a client
//	                 that did not come back although there was a node for it, or that the connection's status does not show
//
// "answered" is the time from the fault (pg-outage: from PostgreSQL's return) until each connection concerned answered for
// good: it is asked about once a second through the other nodes, and a failure or an answer that takes over a second is an
// interruption, whose end counts. "reopened" is the time until each of their broker clients was up again, as the tap saw it;
// in planned moves it is the gap of each client that moved, and "answered" the longest that an answer took. The other client
// of a connection concerned counts, too, with its gap: it moves when it was where the entity has to go. A connection with no more
// than its second client at the node with the fault answers at once, which makes the median smaller. Without a limit: commands
// and messages of the scenario, messages that came more than once (allowed, O15). A count that is not 0 is followed by its first causes under the table, with their
// time relative to the fault; -keep has the whole histories and the logs. Times of a machine with a load above its number of
// CPUs (end of each progress line) say little.
//
// # What it cannot see
//
// What Mosquitto forgets (outside decision O15): the session of an MQTT 5 client, and what it holds for it alone, is kept for 60 s
// after the client went (session-expiry-interval). No fault of the list keeps a client away for so long; with -outage or a cluster
// that does not come to rest within a minute, "lost" may count such messages; -env CONNECTIVITY_MQTT_SESSION_EXPIRY_INTERVAL=1h
// keeps them. For the same reason there must be a node for each client: with -nodes 1 the second clients never run, and with
// -nodes 2 they are away as long as one node is, which "reopened" leaves out.
//
// Two activations without a broker client: only the journal (epochs, executions) and the history would show them. Metrics
// are compared at scrape speed, so "double active" misses what lasts less than about 200 ms; the tap misses nothing. Deaths
// of the broker, of this machine, of a disk, and clocks that jump are not played.
//
// # In the code
//
// scenario.go is the list of faults, round.go the course of a round, lab.go what runs; tap.go and observer.go, history.go,
// journal.go, load.go and scrape.go look for what must not be; shapes.go says which connections have two clients;
// table.go prints. Everything that was started ends with the program, Ctrl-C included.
package main
