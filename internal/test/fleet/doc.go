// Package fleet runs a fleet of real collectors on one machine: servers with volumes of their own, behind load balancers, in an
// Auto Scaling group, with an S3 server and an IDC behind a slow line as destinations. Two relays (examples/udprelay) spread datagrams: one
// in front of a load balancer, one in the place of another. A seeded program of events happens to them under load: scale-out, a crash
// whose volume another server adopts, an outage of the IDC, an upgrade of every server, restarts and mistakes at the relays, scale-ins.
// In the end the auditor says whether anything is missing, and the counters of kernels, load balancers, relays and collectors must agree.
//
// # The stage
//
// Every machine is a Linux network namespace. The load balancers are nftables with conntrack, which share no code with Penstock.
// A volume is a loop device with ext4. The test runs in a PID namespace and a mount namespace of its own, as their first process: when
// it ends, in whatever way, the kernel kills every process in it, and then frees the network namespaces with their interfaces and
// tables, the mounts and the loop devices. Nothing is left to clean up, also after a panic, ctrl-C or kill -9.
//
// The test needs root, and the programs ip, tc, nft, mkfs.ext4, sshd and versitygw. Without them it is skipped and says why; in CI
// (the variable CI is set) it fails.
//
//	cd internal/test/fleet && go test -v -timeout 20m -run TestFleet . -fleet.form short -fleet.seed 7 -fleet.out /tmp/evidence
//
// The forms ci, short and long divide the times of the platform by 40, 24 and 8. With -fleet.scale 1 a form has the times of AWS: the
// form long then takes half an hour instead of 18 minutes.
//
// # The way through the files
//
// inside.go enters the namespaces. namespace.go, network.go and volume.go make machines, cables and disks; stage.go puts them
// together. balancer.go decides which targets get new flows, udp.go does it with nft and flows.go ends flows, tcp.go is the balancer
// with PROXY headers, relay.go a machine with a relay. server.go is a machine with a collector, destinations.go has the two
// destinations, autoscaler.go the group. plan.go draws every decision from the seed, sources.go and probe.go send, rates.go notes how
// much was sent by when, control.go measures the machine itself, scenario.go makes the events happen, and relayfaults.go those at the
// relays. watch.go records what the servers show, account.go reads the counters, content.go the destinations' disks, and verdict.go
// and relayverdict.go compare them. timeline.go draws the run, summary.go and page.go write it down. runbook.go runs the commands of the runbook,
// examples/deploy/README.md, and runbook_stage.go does what they need a cloud for.
package fleet
