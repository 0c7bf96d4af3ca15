package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/penstock-go/penstock/internal/bench/debs"
)

// rsyslogConf: %[1]s directory, %[2]s UDP and %[3]s TCP port, %[4]s queue.
const rsyslogConf = `global(workDirectory="%[1]s" maxMessageSize="8k")
module(load="imudp" threads="2" batchSize="128" timeRequery="16")
module(load="imtcp" keepAlive="off")
template(name="raw" type="string" string="%%rawmsg%%\n")
ruleset(name="store" %[4]s) {
  action(type="omfile" file="%[1]s/out" template="raw" ioBufferSize="256k" flushOnTXEnd="off" asyncWriting="on" flushInterval="1")
}
input(type="imudp" address="127.0.0.1" port="%[2]s" ruleset="store" rcvbufSize="64m")
input(type="imtcp" address="127.0.0.1" port="%[3]s" ruleset="store")
`

const (
	memoryQueue = `queue.type="FixedArray" queue.size="2000000" queue.dequeueBatchSize="2048" queue.workerThreads="1"`
	diskQueue   = `queue.type="LinkedList" queue.filename="queue" queue.size="100000" queue.dequeueBatchSize="2048" ` +
		`queue.maxDiskSpace="20g" queue.saveOnShutdown="on"`
)

const syslogNGConf = `@version: 3.38
options { stats-freq(0); log-fifo-size(10000000); keep-hostname(yes); use-dns(no); dns-cache(no); };
source datagrams {
  network(transport(udp) ip("127.0.0.1") port(%[2]s) so-reuseport(1) so-rcvbuf(67108864) flags(no-parse) persist-name("a"));
  network(transport(udp) ip("127.0.0.1") port(%[2]s) so-reuseport(1) so-rcvbuf(67108864) flags(no-parse) persist-name("b"));
};
source lines { network(transport(tcp) ip("127.0.0.1") port(%[3]s) flags(no-parse) log-iw-size(100000) log-fetch-limit(1000)); };
destination store { file("%[1]s/out" template("$MSG\n") flush-lines(1000)); };
log { source(datagrams); destination(store); };
log { source(lines); destination(store); flags(flow-control); };
`

// receivers finds all receivers that match -only.
func (b *bench) receivers() (all []*receiver, err error) {
	add := func(name string, start func() (func(string) (*running, error), error)) {
		if err != nil || !b.only.MatchString(name) {
			return
		}
		var f func(string) (*running, error)
		if f, err = start(); err == nil {
			all = append(all, &receiver{name, f})
		}
	}
	ours := func(role string) func() (func(string) (*running, error), error) {
		return func() (func(string) (*running, error), error) { return startOurs(role, true), nil }
	}
	rsyslog := func(queue string) func() (func(string) (*running, error), error) {
		return func() (func(string) (*running, error), error) {
			p, err := debs.Find(b.dir, "rsyslogd", "rsyslog", "libestr0", "libfastjson4", "liblognorm5")
			return startDaemon(p, rsyslogConf, queue, func(dir, conf string) []string {
				args := []string{"-n", "-f", conf, "-i", filepath.Join(dir, "pid")}
				if p.Root != "" {
					args = append(args, "-M", filepath.Join(p.Lib, "rsyslog"))
				}
				return args
			}), err
		}
	}
	add("penstock", ours("penstock plain"))
	add("penstock, GRO", ours("penstock gro"))
	add("rsyslog, memory queue", rsyslog(memoryQueue))
	add("rsyslog, disk-assisted", rsyslog(diskQueue))
	add("syslog-ng", func() (func(string) (*running, error), error) {
		p, err := debs.Find(b.dir, "syslog-ng", "syslog-ng-core", "libivykis0", "libnet1", "libpcre3", "libwrap0", "libjson-c5")
		return startDaemon(p, syslogNGConf, "", func(dir, conf string) []string {
			args := []string{
				"-F", "--no-caps", "-f", conf, "-R", filepath.Join(dir, "persist"),
				"-c", filepath.Join(dir, "ctl"), "-p", filepath.Join(dir, "pid"),
			}
			if p.Root != "" {
				args = append(args, "--module-path="+filepath.Join(p.Root, "usr/lib/syslog-ng/3.38"))
			}
			return args
		}), err
	})
	return all, err
}

// startDaemon writes a configuration, runs the program, and waits until it accepts TCP connections.
func startDaemon(p *debs.Program, conf, queue string, args func(dir, conf string) []string) func(string) (*running, error) {
	return func(dir string) (*running, error) {
		dir, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		udp, tcp, err := freePorts()
		if err != nil {
			return nil, err
		}
		text := []any{dir, udp, tcp}
		if queue != "" {
			text = append(text, queue)
		}
		file := filepath.Join(dir, "conf")
		if err := os.WriteFile(file, fmt.Appendf(nil, conf, text...), 0o600); err != nil {
			return nil, err
		}
		cmd := exec.Command(p.Path, args(dir, file)...)
		cmd.Env = append(os.Environ(), p.Env...)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		out := filepath.Join(dir, "out")
		r := &running{
			cmd: cmd, settle: 2500 * time.Millisecond, udp: "127.0.0.1:" + udp, tcp: "127.0.0.1:" + tcp,
			stored: func() (uint64, error) {
				info, err := os.Stat(out)
				if errors.Is(err, fs.ErrNotExist) {
					return 0, nil
				}
				if err != nil {
					return 0, err
				}
				return uint64(info.Size()) / lineSize, nil // slightly too high for datagrams, whose lines are one byte longer
			},
			count: func() (uint64, error) { return countLines(out) },
		}
		for deadline := time.Now().Add(10 * time.Second); ; {
			c, err := net.Dial("tcp", r.tcp)
			if err == nil {
				return r, c.Close()
			}
			if time.Now().After(deadline) {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				return nil, fmt.Errorf("%s does not listen: %w: %s", p.Path, err, said.Bytes())
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// freePorts returns ports that were unused a moment ago.
func freePorts() (udp, tcp string, err error) {
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer u.Close()
	t, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer t.Close()
	_, udp, err = net.SplitHostPort(u.LocalAddr().String())
	_, tcp, err2 := net.SplitHostPort(t.Addr().String())
	return udp, tcp, errors.Join(err, err2)
}

// countLines counts the lines of a file. All must have the same length: 512 or 513 bytes with the newline.
func countLines(name string) (n uint64, err error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	size := uint64(0)
	buf := make([]byte, 1<<20)
	for {
		k, err := f.Read(buf)
		n += uint64(bytes.Count(buf[:k], []byte{'\n'}))
		size += uint64(k)
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	if size != n*lineSize && size != n*(lineSize+1) {
		return 0, fmt.Errorf("%d lines of %d bytes in all: altered", n, size)
	}
	return n, nil
}
