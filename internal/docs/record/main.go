//go:build linux

// Record runs a program on a terminal of its own and draws what the terminal shows as an SVG file, which plays the program's
// output once and then stays at the end. Without animations, and for readers who have asked for less motion, it shows the end only.
// Its text can be selected, its colours follow the reader's light or dark theme, and its size depends only on the number of columns
// and lines.
//
//	go run ./internal/docs/record -o internal/docs/quickstart.svg go run ./examples/quickstart
//
// draws the picture that README shows.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

func main() {
	out := flag.String("o", "", "file to write")
	columns := flag.Int("columns", 100, "columns of the terminal; longer lines wrap")
	every := flag.Duration("every", time.Second, "time between two frames")
	limit := flag.Duration("limit", 5*time.Minute, "time after which the program is killed")
	flag.Parse()
	if *out == "" || flag.NArg() == 0 || *columns < 20 || *every <= 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	frames, err := record(ctx, *columns, *every, flag.Args()...)
	if err == nil {
		err = os.WriteFile(*out, draw(frames, *columns), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

// frame is what the terminal showed at a time after the program's first output.
type frame struct {
	at    time.Duration
	lines []line
}

// record runs the program, and takes a frame at every interval and one at the end. The first line of each frame is the command.
// The time begins with the first output, so that the compiler's time is not played.
func record(ctx context.Context, columns int, every time.Duration, command ...string) ([]frame, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	// Some programs print no colours to a terminal that they do not know, or if NO_COLOR is set to anything.
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "NO_COLOR=")
	// The group, since go run is the parent of the program that holds the terminal.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	term, err := start(cmd, columns)
	if err != nil {
		return nil, err
	}
	defer term.Close()
	type chunk struct {
		at   time.Time
		data []byte
	}
	chunks := make(chan chunk)
	go func() {
		defer close(chunks)
		buf := make([]byte, 64<<10)
		for {
			n, err := term.Read(buf)
			if n > 0 {
				chunks <- chunk{time.Now(), append([]byte(nil), buf[:n]...)}
			}
			if err != nil { // EIO: the program and its children have closed the terminal
				return
			}
		}
	}()

	s := &screen{columns: columns}
	prompt := line{{style: "d", text: "$ "}, {column: 2, style: "b", text: strings.Join(command, " ")}}
	take := func(at time.Duration) frame { return frame{at, append([]line{prompt}, s.lines()...)} }
	frames := []frame{take(0)}
	var begin time.Time
	var bad error
	for c := range chunks {
		if begin.IsZero() {
			begin = c.at
		}
		// What was on the screen when the interval ended is the frame: it is taken before the next output changes it.
		if at := c.at.Sub(begin); at-frames[len(frames)-1].at >= every {
			frames = append(frames, take(at))
		}
		if err := s.write(c.data); err != nil && bad == nil {
			bad = err
		}
	}
	if !begin.IsZero() {
		frames = append(frames, take(time.Since(begin)))
	}
	return frames, errors.Join(cmd.Wait(), bad)
}
