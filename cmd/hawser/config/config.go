package config

import "time"

// Config is the whole configuration of a node. Each field's tags are its documentation (`hawser config doc` prints them):
//
//	key      name in the YAML file and for -D; Ditto's names without the leading "ditto.connectivity." or "ditto."
//	env      environment variables, weakest first
//	host     variables that set only the host of an address, weakest first; they apply where env is not set (decision O9)
//	port     likewise for the port
//	default  as one would write it
//	min, max bounds of a number, duration or size, inclusive
//	oneof    the texts that are allowed
//	doc      what it does and what breaks otherwise
//
// Durations are written 10s, 5m, 250ms, 1d; a bare number is milliseconds. Sizes are bytes, or 250k, 1m (powers of 1024).
// Lists are written as YAML lists or comma separated.
type Config struct {
	Instance    string `key:"instance" env:"HOSTNAME,INSTANCE_INDEX" default:"" doc:"instance id, unique per cluster: the key in aggregated replies and the client in status answers; default: the host name"`
	DataDir     string `key:"data-dir" env:"HAWSER_DATA_DIR" default:"./data" doc:"folder of the embedded store and, with any store, of the lock that keeps a second process out and lets a node that is started again here take over at once; one for each node, local disk"`
	HeapReserve string `key:"heap-reserve" env:"HAWSER_HEAP_RESERVE" default:"auto" doc:"memory that garbage may take before it is collected, at least: more saves processor time under load and makes the slowest answers faster; 0 leaves the pace to Go; auto: a sixteenth of the memory that the process may use (its cgroup's limit, else the machine's), at most 1g. GOGC, if set, wins; GOMEMLIMIT bounds it"`

	Postgres struct {
		URL Secret `key:"postgres.url" env:"HAWSER_POSTGRES_URL" default:"" doc:"PostgreSQL as postgres://user:password@host/database?…, never through a transaction pooler; empty: embedded SQLite under data-dir, one node only"`
	}

	HTTP struct {
		Address         Address       `key:"http.address" env:"HAWSER_HTTP_ADDRESS" host:"BIND_HOSTNAME" port:"HTTP_PORT,PORT" default:"127.0.0.1:8080" doc:"API; beyond loopback only with devops.password set or devops.secured off"`
		MaxBody         Size          `key:"http.max-content-length" env:"HAWSER_HTTP_MAX_CONTENT_LENGTH" default:"1m" min:"1k" max:"64m" doc:"largest request body, answered 413 above it; a connection with long scripts or certificate chains needs a few hundred KiB"`
		RequestTimeout  time.Duration `key:"http.request-timeout" env:"REQUEST_TIMEOUT" default:"60s" min:"10s" max:"10m" doc:"after this the API gives up waiting for an answer: 408 command.timeout"`
		MaxTimeout      time.Duration `key:"command.max-timeout" env:"" default:"1m" min:"1s" max:"10m" doc:"largest timeout a query parameter may ask for"`
		DefaultTimeout  time.Duration `key:"command.default-timeout" env:"" default:"60s" min:"1s" max:"10m" doc:"wait of /api/2/connections for an answer without a timeout; never longer than http.request-timeout"`
		ErrorWindow     time.Duration `key:"command.fire-and-forget-enforcement-timeout" env:"FIRE_AND_FORGET_ENFORCEMENT_TIMEOUT" default:"3s" min:"1ms" max:"60s" doc:"how long a command with response-required=false is watched for an error before it is answered 202"`
		RetrieveLimit   int           `key:"command.connections-retrieve-limit" env:"HAWSER_CONNECTIONS_RETRIEVE_LIMIT" default:"100" min:"1" doc:"connections that GET /api/2/connections answers in full; above it 400 connectivity:connections.amount.illegal, ids-only=true is always answered"`
		MediaTypes      []string      `key:"http.additional-accepted-media-types" env:"ADDITIONAL_ACCEPTED_MEDIA_TYPES" default:"application/octet-stream" doc:"types of request bodies that /api/2 takes beside a route's own; a request without Content-Type counts as application/octet-stream"`
		QueryHeaders    []string      `key:"http.query-params-as-headers" env:"" default:"accept,channel,correlation-id,requested-acks,declared-acks,response-required,timeout,live-channel-timeout-strategy,allow-policy-lockout,condition,live-channel-condition,at-historical-revision,at-historical-timestamp,dry-run" doc:"query parameters that count as the request header of their name"`
		CORS            bool          `key:"http.enablecors" env:"ENABLE_CORS" default:"false" doc:"lets browser pages of any origin use the API"`
		ForceHTTPS      bool          `key:"http.forcehttps" env:"FORCE_HTTPS" default:"false" doc:"answers 404 to what did not reach the proxy over HTTPS"`
		RedirectHTTPS   bool          `key:"http.redirect-to-https" env:"REDIRECT_TO_HTTPS" default:"false" doc:"with forcehttps: 301 to the https address instead, except for http.redirect-to-https-blocklist-pattern"`
		NoRedirect      string        `key:"http.redirect-to-https-blocklist-pattern" env:"" default:"/api.*|/ws.*|/status.*|/overall.*" doc:"whole paths that are answered 404 and not redirected"`
		ProtocolHeaders []string      `key:"http.protocol-headers" env:"" default:"X-Forwarded-Proto,x_forwarded_proto" doc:"request headers that tell the protocol the proxy was reached by; the first that is present counts"`
		IdleTimeout     time.Duration `key:"http.idle-timeout" env:"IDLE_TIMEOUT" default:"610s" min:"1s" doc:"idle keep-alive connections are closed after this"`
		MaxConnections  int           `key:"http.max-connections" env:"HAWSER_HTTP_MAX_CONNECTIONS" default:"4096" min:"1" doc:"connections to the API that may be open at one time; more wait"`
		ShutdownTimeout time.Duration `key:"http.coordinated-shutdown-timeout" env:"COORDINATED_SHUTDOWN_REQUEST_TIMEOUT" default:"65s" min:"1s" doc:"how long running requests may take to end when the node stops"`
	}

	DevOps   DevOps
	Features struct {
		HistoricalAPIs   bool `key:"devops.feature.historical-apis-enabled" env:"DITTO_DEVOPS_FEATURE_HISTORICAL_APIS_ENABLED" default:"true" doc:"whether commands with at-historical-revision or at-historical-timestamp show past states; off: they are answered 400 signal.unsupported"`
		KnownMQTTHeaders bool `key:"devops.feature.preserve-known-mqtt-headers-enabled" env:"DITTO_DEVOPS_FEATURE_PRESERVE_KNOWN_MQTT_HEADERS_ENABLED" default:"true" doc:"MQTT 5: whether mqtt.topic, mqtt.qos and mqtt.retain are among the user properties of published messages"`
	}

	Metrics struct {
		Enabled bool    `key:"metrics.enabled" env:"PROMETHEUS_ENABLED" default:"true" doc:"whether Prometheus can scrape this node"`
		Prefix  string  `key:"metrics.metric-prefix" env:"DITTO_METRICS_METRIC_PREFIX" default:"" doc:"stands in front of the name of every metric"`
		Address Address `key:"metrics.address" env:"HAWSER_METRICS_ADDRESS" host:"BIND_HOSTNAME,PROMETHEUS_HOSTNAME" port:"PROMETHEUS_PORT" default:"127.0.0.1:9095" doc:"Prometheus, any path"`
	}
	Management struct {
		Address Address `key:"management.address" env:"HAWSER_MANAGEMENT_ADDRESS" host:"BIND_HOSTNAME" default:"127.0.0.1:7626" doc:"/alive, /ready, /cluster/members"`
	}

	Cluster struct {
		Address    Address `key:"cluster.address" env:"HAWSER_CLUSTER_ADDRESS" host:"BIND_HOSTNAME" port:"REMOTE_PORT,BIND_REMOTE_PORT" default:"127.0.0.1:2551" doc:"node to node; used with PostgreSQL only. Beyond loopback only with cluster.tls.… or cluster.plaintext"`
		Advertised string  `key:"cluster.advertised" env:"HAWSER_CLUSTER_ADVERTISED" default:"" doc:"where the other nodes reach this one, if that is not cluster.address"`
		TLS        struct {
			Cert string `key:"cluster.tls.cert" env:"HAWSER_CLUSTER_TLS_CERT" default:"" doc:"PEM file with the certificate that this node shows to the others, as client and as server"`
			Key  string `key:"cluster.tls.key" env:"HAWSER_CLUSTER_TLS_KEY" default:"" doc:"PEM file with its key"`
			CA   string `key:"cluster.tls.ca" env:"HAWSER_CLUSTER_TLS_CA" default:"" doc:"PEM file with the authorities that sign the nodes' certificates; who shows no certificate of theirs is refused"`
		}
		Plaintext bool          `key:"cluster.plaintext" env:"HAWSER_CLUSTER_PLAINTEXT" default:"false" doc:"lets nodes talk without TLS beyond loopback; whoever reaches the port can then command every connection"`
		Shards    int           `key:"cluster.number-of-shards" env:"CLUSTER_NUMBER_OF_SHARDS" default:"64" min:"1" max:"4096" doc:"shards of connections; fixed per database and checked at the start"`
		LeaseTTL  time.Duration `key:"cluster.lease-ttl" env:"HAWSER_LEASE_TTL" default:"5s" min:"3s" max:"60s" doc:"how long a node may be silent before others take its connections over; three fifths of it is how long it rides out a database outage, and how long its peers may be out of reach before one of them hands its connections over"`
	}

	Health struct {
		CacheTimeout time.Duration `key:"public-health.cache-timeout" env:"GATEWAY_STATUS_HEALTH_EXTERNAL_TIMEOUT" default:"20s" min:"1ms" doc:"how long /health keeps an answer"`
		Enabled      bool          `key:"health-check.enabled" env:"HEALTH_CHECK_ENABLED" default:"true" doc:"whether the health of a node depends on its database"`
		RolesEnabled bool          `key:"health-check.cluster-roles.enabled" env:"HEALTH_CHECK_ROLES_ENABLED" default:"true" doc:"whether the health of the cluster depends on its roles being there"`
		Timeout      time.Duration `key:"health-check.service.timeout" env:"HEALTH_CHECK_SERVICE_TIMEOUT" default:"10s" min:"100ms" doc:"how long the database may take to answer a health check"`
	}

	Log struct {
		Application string `key:"log.application-level" env:"LOG_LEVEL_APPLICATION" default:"" oneof:",off,error,warn,info,debug,trace,all" doc:"least level of the service's own loggers (hawser, org.eclipse.ditto); empty: log.level. PUT /devops/logging changes levels at run time"`
		Level       string `key:"log.level" env:"LOG_LEVEL" default:"info" oneof:"off,error,warn,info,debug,trace,all" doc:"least level of log lines, any case"`
		Format      string `key:"log.format" env:"HAWSER_LOG_FORMAT" default:"text" oneof:"text,json" doc:"form of log lines on standard error"`
	}

	Connection struct {
		AllowedHostnames []string      `key:"connection.allowed-hostnames" env:"CONNECTIVITY_CONNECTION_ALLOWED_HOSTNAMES" default:"hono-endpoint" doc:"hosts that may be dialled whatever the blocked-… keys say"`
		BlockedHostnames []string      `key:"connection.blocked-hostnames" env:"CONNECTIVITY_CONNECTION_BLOCKED_HOSTNAMES" default:"" doc:"hosts that connections must not reach; with any blocked-… key set, loopback, private, link-local and multicast addresses are blocked too (decision O7)"`
		BlockedSubnets   []string      `key:"connection.blocked-subnets" env:"CONNECTIVITY_CONNECTION_BLOCKED_SUBNETS" default:"" doc:"CIDR ranges that connections must not reach, checked on the resolved address at every dial"`
		BlockedHostRegex string        `key:"connection.blocked-host-regex" env:"CONNECTIVITY_CONNECTION_BLOCKED_HOST_REGEX" default:"" doc:"host names that connections must not reach; matches the whole name"`
		MaxSources       int           `key:"connection.max-source-number" env:"CONNECTION_SOURCE_NUMBER" default:"4" min:"1" doc:"sources that a connection may have"`
		MaxTargets       int           `key:"connection.max-target-number" env:"CONNECTION_TARGET_NUMBER" default:"4" min:"1" doc:"targets that a connection may have"`
		ClientAskTimeout time.Duration `key:"connection.client-actor-ask-timeout" env:"CONNECTIVITY_CLIENT_ACTOR_ASK_TIMEOUT" default:"55s" min:"1s" doc:"how long open, close and modify wait for the broker clients"`
		LocalAskTimeout  time.Duration `key:"connection.supervisor.local-ask.timeout" env:"CONNECTIVITY_SUPERVISOR_LOCAL_ASK_TIMEOUT" default:"50s" min:"1s" doc:"how long a command without ditto-sudo may take at its connection: 503 enforcement.timeout"`
		BackoffMin       time.Duration `key:"connection.supervisor.exponential-backoff.min" env:"" default:"1s" min:"10ms" doc:"first pause before a failed connection entity recovers"`
		BackoffMax       time.Duration `key:"connection.supervisor.exponential-backoff.max" env:"" default:"120s" min:"10ms" doc:"longest such pause"`
		CorruptedTimeout time.Duration `key:"connection.supervisor.exponential-backoff.corrupted-receive-timeout" env:"" default:"600s" min:"1s" doc:"how long an entity whose stored data cannot be read answers 503 before it is read again"`
		SnapshotInterval time.Duration `key:"connection.snapshot.interval" env:"CONNECTION_SNAPSHOT_INTERVAL" default:"15m" min:"1s" doc:"a changed connection takes a snapshot this often"`
		SnapshotEvents   int           `key:"connection.snapshot.threshold" env:"CONNECTION_SNAPSHOT_THRESHOLD" default:"10" min:"1" doc:"a connection takes a snapshot every so many events"`
		HistoricalHeader []string      `key:"connection.event.historical-headers-to-persist" env:"CONNECTION_EVENT_HISTORICAL_HEADERS_TO_PERSIST" default:"" doc:"headers of a command that its event keeps"`
		InactiveInterval time.Duration `key:"connection.activity-check.inactive-interval" env:"CONNECTION_ACTIVITY_CHECK_INTERVAL" default:"45m" min:"1s" doc:"a closed connection nobody asked for leaves memory after this"`
		DeletedInterval  time.Duration `key:"connection.activity-check.deleted-interval" env:"CONNECTION_ACTIVITY_CHECK_DELETED_INTERVAL" default:"5m" min:"1s" doc:"a deleted connection leaves memory after this"`
		AckTimeout       time.Duration `key:"connection.acknowledgement.forwarder-fallback-timeout" env:"" default:"65s" min:"1s" doc:"longest wait for acknowledgements of a relayed signal"`
		AckLifetime      time.Duration `key:"connection.acknowledgement.collector-fallback-lifetime" env:"" default:"100s" min:"1s" doc:"longest life of the collector that settles a consumed message"`
		PriorityInterval time.Duration `key:"connection.priority-update-interval" env:"CONNECTIVITY_PRIORITY_UPDATE_INTERVAL" default:"24h" min:"1s" doc:"how often the priority of an open connection is written anew"`

		HTTPPush struct {
			RequestTimeout time.Duration `key:"connection.http-push.request-timeout" env:"CONNECTIVITY_HTTP_PUSH_REQUEST_TIMEOUT" default:"60s" min:"1s" doc:"how long an endpoint may take to answer; specificConfig idleTimeout can only be shorter"`
			EnforceHTTPS   bool          `key:"connection.http-push.oauth2.enforce-https" env:"CONNECTIVITY_HTTP_OAUTH2_ENFORCE_HTTPS" default:"true" doc:"whether the token endpoint of OAuth credentials must be https"`
			HMACAlgorithms []string      `key:"connection.http-push.hmac-algorithms" env:"" default:"aws4-hmac-sha256,az-monitor-2016-04-01,az-sasl" doc:"HMAC algorithms that connections may use, http-push and amqp-10"`
		}

		MQTT struct {
			MaxQueue          int           `key:"connection.mqtt.max-queue-size" env:"CONNECTIVITY_MQTT_MAX_QUEUE_SIZE" default:"1000" min:"1" doc:"messages that may wait to be published, per client; above it 503"`
			CleanSession      bool          `key:"connection.mqtt.clean-session" env:"CONNECTIVITY_MQTT_CLEAN_SESSION" default:"false" doc:"default of specificConfig cleanSession"`
			Redeliver         bool          `key:"connection.mqtt.reconnect-for-redelivery" env:"CONNECTIVITY_MQTT_RECONNECT_FOR_REDELIVERY" default:"false" doc:"default of specificConfig reconnectForRedelivery"`
			RedeliverDelay    time.Duration `key:"connection.mqtt.reconnect-for-redelivery-delay" env:"CONNECTIVITY_MQTT_RECONNECT_FOR_REDELIVERY_DELAY" default:"10s" min:"1s" doc:"default of specificConfig reconnectForRedeliveryDelay"`
			SeparatePublisher bool          `key:"connection.mqtt.separate-publisher-client" env:"CONNECTIVITY_MQTT_SEPARATE_PUBLISHER_CLIENT" default:"false" doc:"default of specificConfig separatePublisherClient"`
			SessionExpiry     time.Duration `key:"connection.mqtt.session-expiry-interval" env:"CONNECTIVITY_MQTT_SESSION_EXPIRY_INTERVAL" default:"60s" min:"1s" doc:"MQTT 5: how long a broker keeps the session of a client that is gone"`
			ReceiveMaximum    int           `key:"connection.mqtt.receive-maximum-client" env:"CONNECTIVITY_MQTT_CLIENT_RECEIVE_MAXIMUM" default:"65535" min:"1" max:"65535" doc:"MQTT 5: messages that a broker may send without their acknowledgement"`
		}
	}

	Client struct {
		ConnectingMin       time.Duration `key:"client.connecting-min-timeout" env:"CONNECTIVITY_CLIENT_CONNECTING_MIN_TIMEOUT" default:"50s" min:"1s" doc:"limit of the first connect attempt; doubles per try"`
		ConnectingMax       time.Duration `key:"client.connecting-max-timeout" env:"CONNECTIVITY_CLIENT_CONNECTING_MAX_TIMEOUT" default:"60m" min:"1s" doc:"largest such limit"`
		ConnectingTries     int           `key:"client.connecting-max-tries" env:"CONNECTIVITY_CLIENT_CONNECTING_MAX_TRIES" default:"50" min:"1" doc:"failed attempts in a row after which a client waits for an open or modify"`
		BackoffMin          time.Duration `key:"client.min-backoff" env:"CONNECTIVITY_CLIENT_MIN_BACKOFF" default:"5s" min:"1ms" doc:"pause before the first reconnect; doubles"`
		BackoffMax          time.Duration `key:"client.max-backoff" env:"CONNECTIVITY_CLIENT_MAX_BACKOFF" default:"60m" min:"1ms" doc:"longest such pause"`
		DisconnectingMax    time.Duration `key:"client.disconnecting-max-timeout" env:"CONNECTIVITY_CLIENT_DISCONNECTING_MAX_TIMEOUT" default:"5s" min:"10ms" doc:"a client that has not disconnected by then is cut off"`
		AnnouncementTimeout time.Duration `key:"client.disconnect-announcement-timeout" env:"CONNECTIVITY_CLIENT_DISCONNECT_ANNOUNCEMENT_TIMEOUT" default:"3s" min:"1ms" doc:"pause between the closed announcement and disconnecting, where a target wants it"`
		TestingTimeout      time.Duration `key:"client.testing-timeout" env:"CONNECTIVITY_CLIENT_TESTING_TIMEOUT" default:"10s" min:"10ms" doc:"limit of testConnection"`
	}

	Logger struct {
		SuccessCapacity int           `key:"monitoring.logger.successCapacity" env:"CONNECTIVITY_LOGGER_SUCCESS_CAPACITY" default:"10" min:"1" doc:"entries kept per address and kind of success"`
		FailureCapacity int           `key:"monitoring.logger.failureCapacity" env:"CONNECTIVITY_LOGGER_FAILURE_CAPACITY" default:"10" min:"1" doc:"entries kept per address and kind of failure"`
		MaxLogSize      Size          `key:"monitoring.logger.maxLogSizeBytes" env:"CONNECTIVITY_LOGGER_MAX_LOG_SIZE_BYTES" default:"250000" min:"1" doc:"largest answer of retrieveConnectionLogs"`
		LogDuration     time.Duration `key:"monitoring.logger.logDuration" env:"CONNECTIVITY_LOGGER_LOG_DURATION" default:"24h" min:"1s" doc:"how long connection logs stay enabled"`
		CheckInterval   time.Duration `key:"monitoring.logger.loggingActiveCheckInterval" env:"CONNECTIVITY_LOGGER_ACTIVE_CHECK_INTERVAL" default:"5m" min:"1s" doc:"how often that is checked"`
	}

	Publisher struct {
		Enabled     bool          `key:"monitoring.logger.publisher.enabled" env:"CONNECTIVITY_LOGGER_PUBLISHER_ENABLED" default:"false" doc:"whether the connection logs go to a Fluentd, whatever enableConnectionLogs says"`
		Levels      []string      `key:"monitoring.logger.publisher.logLevels" env:"CONNECTIVITY_LOGGER_PUBLISHER_LOG_LEVELS" default:"success,failure" doc:"levels of the entries that go there: success, failure"`
		Details     bool          `key:"monitoring.logger.publisher.logHeadersAndPayload" env:"CONNECTIVITY_LOGGER_PUBLISHER_LOG_HEADERS_AND_PAYLOAD" default:"false" doc:"whether their texts name the headers of the message"`
		Tag         string        `key:"monitoring.logger.publisher.log-tag" env:"CONNECTIVITY_LOGGER_PUBLISHER_LOG_TAG" default:"" doc:"Fluentd tag; empty: connection:<id>"`
		Context     []string      `key:"monitoring.logger.publisher.additional-log-context" env:"" default:"" doc:"further members of each record, as name=value"`
		Host        string        `key:"monitoring.logger.publisher.fluency.host" env:"CONNECTIVITY_LOGGER_PUBLISHER_FLUENCY_HOST" default:"localhost" doc:"host of the Fluentd"`
		Port        int           `key:"monitoring.logger.publisher.fluency.port" env:"CONNECTIVITY_LOGGER_PUBLISHER_FLUENCY_PORT" default:"24224" min:"1" max:"65535" doc:"its forward port"`
		TLS         bool          `key:"monitoring.logger.publisher.fluency.sslEnabled" env:"CONNECTIVITY_LOGGER_PUBLISHER_FLUENCY_SSL_ENABLED" default:"false" doc:"whether to speak TLS with it; its certificate has to be signed by a root that the system trusts (SSL_CERT_FILE, SSL_CERT_DIR)"`
		Connect     time.Duration `key:"monitoring.logger.publisher.fluency.connectionTimeout" env:"CONNECTIVITY_LOGGER_PUBLISHER_FLUENCY_CONNECTION_TIMEOUT" default:"5s" min:"1ms" doc:"limit of connecting and of one write"`
		ReadTimeout time.Duration `key:"monitoring.logger.publisher.fluency.readTimeout" env:"CONNECTIVITY_LOGGER_PUBLISHER_FLUENCY_READ_TIMEOUT" default:"5s" min:"1ms" doc:"limit of waiting for an acknowledgement, with ackResponseMode"`
		Ack         bool          `key:"monitoring.logger.publisher.fluency.ackResponseMode" env:"" default:"false" doc:"whether each record is acknowledged"`
		MaxBuffer   Size          `key:"monitoring.logger.publisher.fluency.maxBufferSize" env:"" default:"64m" min:"1k" doc:"entries that wait to be sent; what comes when it is full is lost"`
		Retries     int           `key:"monitoring.logger.publisher.fluency.senderMaxRetryCount" env:"" default:"7" min:"0" doc:"attempts to send after the first; then the entry is lost"`
		RetryBase   time.Duration `key:"monitoring.logger.publisher.fluency.senderBaseRetryInterval" env:"" default:"400ms" min:"1ms" doc:"pause before the first of them; grows by half each time"`
		RetryMax    time.Duration `key:"monitoring.logger.publisher.fluency.senderMaxRetryInterval" env:"" default:"30s" min:"1ms" doc:"longest such pause"`
		Flush       time.Duration `key:"monitoring.logger.publisher.fluency.waitUntilAllBufferFlushedDurationOnClose" env:"CONNECTIVITY_LOGGER_PUBLISHER_FLUENCY_WAIT_UNTIL_ALL_BUFFER_FLUSHED_DURATION_ON_CLOSE" default:"5s" min:"0s" doc:"how long the node waits at its end for what is not sent yet"`
	}

	Encryption struct {
		Enabled    bool   `key:"connection.encryption.encryption-enabled" env:"CONNECTIVITY_CONNECTION_ENCRYPTION_ENABLED" default:"false" doc:"whether secrets in stored connections are encrypted"`
		Key        Secret `key:"connection.encryption.symmetrical-key" env:"CONNECTIVITY_CONNECTION_ENCRYPTION_KEY" default:"" doc:"key that secrets are encrypted with: 32 bytes in URL-safe base64; the README shows how to make one"`
		KeyFile    string `key:"connection.encryption.symmetrical-key-file" env:"CONNECTIVITY_CONNECTION_ENCRYPTION_KEY_FILE" default:"" doc:"file that holds that key instead; a changed file, or SIGHUP, takes effect without a restart (decision D29)"`
		OldKey     Secret `key:"connection.encryption.old-symmetrical-key" env:"CONNECTIVITY_CONNECTION_OLD_ENCRYPTION_KEY" default:"" doc:"key that is tried for what the other does not open, and that a migration replaces"`
		OldKeyFile string `key:"connection.encryption.old-symmetrical-key-file" env:"CONNECTIVITY_CONNECTION_OLD_ENCRYPTION_KEY_FILE" default:"" doc:"file that holds that key instead"`
		Pointers   string `key:"connection.encryption.json-pointers" env:"CONNECTIVITY_CONNECTION_ENCRYPTION_POINTERS" default:"" doc:"what is encrypted, JSON pointers as a JSON array or comma separated; empty: passwords, keys and the password of the uri"`
		BatchSize  int    `key:"connection.encryption.migration.batch-size" env:"CONNECTIVITY_ENCRYPTION_MIGRATION_BATCH_SIZE" default:"100" min:"1" max:"10000" doc:"documents that a migration rewrites in one transaction"`
		PerMinute  int    `key:"connection.encryption.migration.max-documents-per-minute" env:"CONNECTIVITY_ENCRYPTION_MIGRATION_MAX_DOCS_PER_MINUTE" default:"0" min:"0" doc:"throttle of a migration; 0: none"`
		LiveShare  int    `key:"connection.encryption.migration.live-share" env:"HAWSER_ENCRYPTION_MIGRATION_LIVE_SHARE" default:"5" min:"1" max:"100" doc:"percentage of its time that a migration works while connections are written on any node; with nobody writing it runs at full speed. Twice as much is twice as fast and costs the commands meanwhile: at 10 their p99 grew by 25 to 70 %, at 5 by less than 20 %"`
	}

	Cleanup struct {
		Enabled   bool          `key:"connection.cleanup.enabled" env:"CLEANUP_ENABLED" default:"true" doc:"whether history is cleaned up in the background; these keys can be read and changed by piggyback at /user/connectivityRoot/persistenceCleanup"`
		Retention time.Duration `key:"connection.cleanup.history-retention-duration" env:"CLEANUP_HISTORY_RETENTION_DURATION" default:"30d" min:"0s" doc:"how long history stays readable; 0: only the newest snapshot is kept"`
		Quiet     time.Duration `key:"connection.cleanup.quiet-period" env:"CLEANUP_QUIET_PERIOD" default:"5m" min:"1ms" doc:"pause before each walk through the old snapshots"`
		Interval  time.Duration `key:"connection.cleanup.interval" env:"CLEANUP_INTERVAL" default:"10s" min:"1ms" doc:"how often there are new credits; one credit is one delete statement"`
		Threshold time.Duration `key:"connection.cleanup.timer-threshold" env:"CLEANUP_TIMER_THRESHOLD" default:"150ms" min:"1ms" doc:"accepted, without effect"`
		Credits   int           `key:"connection.cleanup.credits-per-batch" env:"CLEANUP_CREDITS_PER_BATCH" default:"1" min:"1" max:"1000000" doc:"credits per interval"`
		Reads     int           `key:"connection.cleanup.reads-per-query" env:"CLEANUP_READS_PER_QUERY" default:"100" min:"1" max:"1000000" doc:"snapshots per query"`
		Writes    int           `key:"connection.cleanup.writes-per-credit" env:"CLEANUP_WRITES_PER_CREDIT" default:"100" min:"1" max:"1000000" doc:"sequence numbers per delete statement"`
		Final     bool          `key:"connection.cleanup.delete-final-deleted-snapshot" env:"CLEANUP_DELETE_FINAL_DELETED_SNAPSHOT" default:"false" doc:"whether the last snapshot of a deleted connection is deleted, too"`
	}

	Operations struct {
		PurgeDelay time.Duration `key:"persistence.operations.delay-after-persistence-actor-shutdown" env:"DELAY_AFTER_PERSISTENCE_ACTOR_SHUTDOWN" default:"5s" min:"1ms" doc:"pause of purgeEntities between stopping connections and deleting their rows"`
	}

	Mapping struct {
		Pool             int           `key:"mapping.max-pool-size" env:"CONNECTIVITY_MESSAGE_MAPPING_MAX_POOL_SIZE" default:"5" min:"1" max:"64" doc:"runtimes that a JavaScript mapper of one client may have, each with global state of its own; a connection's processorPoolSize may be less"`
		MaxScript        int           `key:"mapping.javascript.maxScriptSizeBytes" env:"CONNECTIVITY_MESSAGE_MAPPING_JS_MAX_SCRIPT_SIZE_BYTES" default:"50000" min:"1" doc:"characters that one script of a JavaScript mapper may have"`
		ScriptTime       time.Duration `key:"mapping.javascript.maxScriptExecutionTime" env:"CONNECTIVITY_MESSAGE_MAPPING_JS_MAX_EXECUTION_TIME" default:"500ms" min:"1ms" max:"60s" doc:"how long one call of a script may run"`
		ScriptDepth      int           `key:"mapping.javascript.maxScriptStackDepth" env:"CONNECTIVITY_MESSAGE_MAPPING_JS_MAX_STACK_DEPTH" default:"25" min:"1" max:"10000" doc:"how deep functions of a script may call each other"`
		UnsafeScripts    bool          `key:"mapping.javascript.allowUnsafeStandardObjects" env:"CONNECTIVITY_MESSAGE_MAPPING_JS_ALLOW_UNSAFE_STANDARD_OBJECTS" default:"false" doc:"whether eval and Function take texts of more than 1000 characters, which nothing interrupts; print, exit and quit do not exist with either"`
		ModulePath       string        `key:"mapping.javascript.commonJsModulePath" env:"CONNECTIVITY_MESSAGE_MAPPING_JS_COMMON_JS_MODULE_PATH" default:"" doc:"must be empty: scripts have no require"`
		SourceMappers    int           `key:"mapping.mapper-limits.max-source-mappers" env:"" default:"10" min:"1" doc:"mappers that a source may have"`
		TargetMappers    int           `key:"mapping.mapper-limits.max-target-mappers" env:"" default:"10" min:"1" doc:"mappers that a target may have"`
		InboundMessages  int           `key:"mapping.mapper-limits.max-mapped-inbound-messages" env:"" default:"10" min:"1" doc:"signals that one mapper may make of one consumed message"`
		OutboundMessages int           `key:"mapping.mapper-limits.max-mapped-outbound-messages" env:"" default:"10" min:"1" doc:"messages that one mapper may make of one signal"`
	}

	Limits struct {
		MessageSize Size `key:"limits.messages.max-size" env:"LIMITS_MESSAGES_MAX_SIZE" default:"250k" min:"1" doc:"largest value of a live message"`
		HeadersSize Size `key:"limits.messages.headers-size" env:"LIMITS_MESSAGES_HEADERS_SIZE" default:"5k" min:"1" doc:"largest sum of a signal's headers"`
		Subjects    int  `key:"limits.messages.auth-subjects-count" env:"LIMITS_MESSAGES_AUTH_SUBJECTS_COUNT" default:"100" min:"1" doc:"most authorization subjects of a signal"`
	}

	Reconnect struct {
		Entities  int           `key:"persistence-ping.rate.entities" env:"RECONNECT_RATE_ENTITIES" default:"500" min:"1" doc:"open connections started per rate.frequency after a shard was taken over"`
		Frequency time.Duration `key:"persistence-ping.rate.frequency" env:"RECONNECT_RATE_FREQUENCY" default:"1s" min:"1ms" doc:"see rate.entities"`
		Interval  time.Duration `key:"persistence-ping.interval" env:"RECONNECT_INTERVAL" default:"10m" min:"1s" doc:"how often each open connection reports its live status (decision D16)"`
	}

	Standalone struct {
		Authorization string  `key:"standalone.authorization" env:"HAWSER_STANDALONE_AUTHORIZATION" default:"shared-subject" oneof:"shared-subject,grants,open" doc:"who may receive a relayed signal: targets that share a subject with its source; those that grants names; everybody"`
		Grants        []Grant `key:"standalone.grants" env:"HAWSER_STANDALONE_GRANTS" default:"[]" doc:"with authorization grants: list (in the environment: JSON) of {namespaces, read, write}; a namespace without entry is denied"`
	}
}

// Grant is one entry of standalone.grants (contract runtime.md 14.2 B3): namespace patterns ("acme.*") and the subjects that
// may read and write there.
type Grant struct {
	Namespaces []string `json:"namespaces"`
	Read       []string `json:"read"`
	Write      []string `json:"write"`
}
