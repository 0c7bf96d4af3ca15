package main

// own selects the series of the dashboard's variables.
const own = `instance=~"$instance",class=~"$class"`

// rows are the rows of the dashboard, from an operator's first question to the details that explain the answer.
var rows = []row{
	{"Is anything lost?", []panel{
		{
			title: "Lost in the last hour", help: "Records that were received and could not be kept.", unit: "short", number: true, alarm: 1,
			queries: []query{{`sum(increase(penstock_lost_records_total{` + own + `}[1h]))`, ""}},
		},
		{
			title: "Damaged", help: "Damages of kept records that nobody has given up.", unit: "short", number: true, alarm: 1,
			queries: []query{{`sum(penstock_spool_damages{` + own + `})`, ""}},
		},
		{
			title: "Sudden deaths in a day", help: "After each, what was in memory is lost.", unit: "short", number: true, alarm: 1,
			queries: []query{{`sum(increase(penstock_unaccounted_periods_total{` + own + `}[1d]))`, ""}},
		},
		{
			title: "Destinations in trouble", help: "Pairs of class and destination that are not ok.", unit: "short", number: true, alarm: 1,
			queries: []query{{`count(penstock_destination_state{` + own + `,state="ok"} == 0) or vector(0)`, ""}},
		},
		{
			title: "Longest lag", help: "Age of the oldest record that a destination does not have.", unit: "s", number: true, alarm: 900,
			queries: []query{{`max(penstock_destination_lag_seconds{` + own + `})`, ""}},
		},
		{
			title: "First spool full in", help: "At the present rate; empty if none is growing.", unit: "s", number: true,
			queries: []query{{`min(penstock_spool_until_full_seconds{` + own + `})`, ""}},
		},
		{
			title: "Lost, by cause", unit: "short", help: "Records per second.",
			queries: []query{{`sum by (class, cause) (rate(penstock_lost_records_total{` + own + `}[$__rate_interval])) > 0`, "{{class}} {{cause}}"}},
		},
		{
			title: "Kernel drops", unit: "short", help: "Datagrams per second that found a receive buffer full.",
			queries: []query{{`sum by (instance, listener) (rate(penstock_socket_kernel_drops_total{` + own + `}[$__rate_interval]))`, "{{instance}} {{listener}}"}},
		},
		{
			title: "Throttled by EC2", unit: "short", help: "Packets per second over an allowance. They are in no account.",
			queries: []query{{`sum by (instance, interface, allowance) (rate(penstock_network_allowance_exceeded_packets_total{instance=~"$instance"}[$__rate_interval]))`, "{{instance}} {{interface}} {{allowance}}"}},
		},
	}},
	{"Receiving", []panel{
		{
			title: "Received", unit: "short", help: "Records per second.",
			queries: []query{{`sum by (class, listener) (rate(penstock_listener_received_records_total{` + own + `}[$__rate_interval]))`, "{{class}} {{listener}}"}},
		},
		{
			title: "Received and kept", unit: "Bps", help: "Payload.",
			queries: []query{
				{`sum by (class) (rate(penstock_received_bytes_total{` + own + `}[$__rate_interval]))`, "{{class}} received"},
				{`sum by (class) (rate(penstock_kept_bytes_total{` + own + `}[$__rate_interval]))`, "{{class}} kept"},
			},
		},
		{
			title: "Receive queues", unit: "percentunit", help: "Of the receive buffers.",
			queries: []query{{`max by (instance, listener) (penstock_socket_queue_bytes{` + own + `} / penstock_socket_receive_buffer_bytes{` + own + `})`, "{{instance}} {{listener}}"}},
		},
		{
			title: "Receive buffers hold", unit: "s", help: "Of the traffic of the last minutes. It should be more than a second.",
			queries: []query{{`penstock_listener_receive_buffer_records{` + own + `} / rate(penstock_listener_received_records_total{` + own + `}[5m])`, "{{instance}} {{listener}}"}},
		},
		{
			title: "Senders of the most records", unit: "short", help: "Records per second.",
			queries: []query{{`topk(10, sum by (class, sender) (rate(penstock_sender_received_records_total{` + own + `}[$__rate_interval])))`, "{{class}} {{sender}}"}},
		},
		{
			title: "Silence", unit: "s", help: "Time since the last record of each class, and of the senders of the most records.",
			queries: []query{
				{`time() - max by (class) (penstock_last_record_timestamp_seconds{` + own + `})`, "{{class}}"},
				{`topk(10, time() - max by (class, sender) (penstock_sender_last_record_timestamp_seconds{` + own + `}))`, "{{class}} {{sender}}"},
			},
		},
		{
			title: "Connections", unit: "short", help: "Open ones, and those that were refused or reset, per second.",
			queries: []query{
				{`sum by (listener) (penstock_listener_connections{` + own + `})`, "{{listener}} open"},
				{`sum by (listener) (rate(penstock_listener_refused_connections_total{` + own + `}[$__rate_interval]))`, "{{listener}} refused"},
				{`sum by (listener) (rate(penstock_listener_reset_connections_total{` + own + `}[$__rate_interval]))`, "{{listener}} reset"},
			},
		},
	}},
	{"Spools", []panel{
		{
			title: "Used", unit: "percentunit", help: "Of the quota.",
			queries: []query{{`penstock_spool_used_bytes{` + own + `} / penstock_spool_quota_bytes{` + own + `}`, "{{instance}} {{class}}"}},
		},
		{
			title: "Disks", unit: "bytes", help: "Free space.",
			queries: []query{{`penstock_disk_free_bytes{instance=~"$instance"}`, "{{instance}} {{dir}}"}},
		},
		{
			title: "Memory on the way to the disk", unit: "percentunit", help: "Of its quota.",
			queries: []query{{`penstock_spool_memory_used_bytes{` + own + `} / penstock_spool_memory_quota_bytes{` + own + `}`, "{{instance}} {{class}}"}},
		},
		{
			title: "Appends", unit: "s", help: "Half of all, and 99 of 100, took no longer.",
			queries: quantiles("penstock_append_seconds", "class"),
		},
		{
			title: "Syncs of the log", unit: "s", help: "Half of all, and 99 of 100, took no longer.",
			queries: quantiles("penstock_sync_seconds", "class"),
		},
		{
			title: "Segments", unit: "short", help: "Sealed ones, and those of them that are staged.",
			queries: []query{
				{`sum by (class) (penstock_spool_segments{` + own + `})`, "{{class}}"},
				{`sum by (class) (penstock_spool_staged_segments{` + own + `})`, "{{class}} staged"},
			},
		},
	}},
	{"Delivery", []panel{
		{
			title: "Pending", unit: "bytes", help: "Payload that a destination does not have yet.",
			queries: []query{{`sum by (class, destination) (penstock_pending_bytes{` + own + `})`, "{{class}} {{destination}}"}},
		},
		{
			title: "Lag", unit: "s", help: "Time since the oldest pending segment was begun; 0 if nothing is pending.",
			queries: []query{{`max by (class, destination) (penstock_destination_lag_seconds{` + own + `})`, "{{class}} {{destination}}"}},
		},
		{
			title: "Until empty", unit: "s", help: "At the present rate; left out while a backlog does not shrink.",
			queries: []query{{`max by (class, destination) (penstock_destination_until_empty_seconds{` + own + `})`, "{{class}} {{destination}}"}},
		},
		{
			title: "Delivered", unit: "Bps", help: "Payload.",
			queries: []query{{`sum by (class, destination) (rate(penstock_delivered_bytes_total{` + own + `}[$__rate_interval]))`, "{{class}} {{destination}}"}},
		},
		{
			title: "Failures", unit: "short", help: "Attempts per second, by kind.",
			queries: []query{{`sum by (destination, kind) (rate(penstock_destination_failures_total{` + own + `}[$__rate_interval])) > 0`, "{{destination}} {{kind}}"}},
		},
		{
			title: "Uploads", unit: "s", help: "Half of all, and 99 of 100, took no longer.",
			queries: quantiles("penstock_put_seconds", "destination"),
		},
	}},
	{"Drains and the process", []panel{
		{
			title: "Phase", unit: "short", help: "1 for the phase that an instance is in.",
			queries: []query{{`sum by (instance, phase) (penstock_drain_phase{instance=~"$instance",phase!="run"} == 1)`, "{{instance}} {{phase}}"}},
		},
		{
			title: "Adoptions", unit: "short", help: "Records of other instances' spools that are not delivered.",
			queries: []query{{`penstock_adoptions_pending_records{instance=~"$instance"}`, "{{instance}}"}},
		},
		{
			title: "Clocks", unit: "s", help: "Difference to that of Prometheus.",
			queries: []query{{`abs(penstock_time_seconds{instance=~"$instance"} - timestamp(penstock_time_seconds{instance=~"$instance"}))`, "{{instance}}"}},
		},
		{
			title: "CPU", unit: "percentunit", help: "Of one core.",
			queries: []query{{`rate(process_cpu_seconds_total{instance=~"$instance",job="penstock"}[$__rate_interval])`, "{{instance}}"}},
		},
		{
			title: "Memory", unit: "bytes", help: "Resident.",
			queries: []query{{`process_resident_memory_bytes{instance=~"$instance",job="penstock"}`, "{{instance}}"}},
		},
		{
			title: "Versions", unit: "short", help: "Instances by version.",
			queries: []query{{`count by (version, revision) (penstock_build_info{instance=~"$instance"})`, "{{version}} {{revision}}"}},
		},
	}},
	{"Audit", []panel{
		{
			title: "Hours that are not complete", unit: "short", help: "As the auditor sees them, which sees the destinations only.",
			queries: []query{{`sum by (class, verdict) (penstock_audit_hour_verdicts{verdict=~"owed|damaged"})`, "{{class}} {{verdict}}"}},
		},
		{
			title: "Oldest of them", unit: "s", help: "How long ago it ended.",
			queries: []query{{`max by (class) (penstock_audit_oldest_incomplete_hour_seconds)`, "{{class}}"}},
		},
		{
			title: "Last audit", unit: "s", help: "How long ago a destination answered all of it.",
			queries: []query{{`time() - penstock_audit_last_success_timestamp_seconds`, "{{destination}}"}},
		},
	}},
}

// quantiles returns queries for the median and the 99th percentile of a histogram.
func quantiles(name, by string) (q []query) {
	for _, x := range []struct{ of, called string }{{"0.5", "median"}, {"0.99", "99 %"}} {
		q = append(q, query{`histogram_quantile(` + x.of + `, sum by (le, ` + by + `) (rate(` + name + `_bucket{` + own + `}[$__rate_interval])))`, "{{" + by + "}} " + x.called})
	}
	return q
}
