package sftpship_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/penstock-go/penstock/internal/test/sftpd"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/sftpship"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "sftpship")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	// A server on loopback stands for the datacenter's. Its URL looks like
	// sftp://penstock@127.0.0.1:40123/?key=…&known_hosts=…
	server, err := sftpd.Start(filepath.Join(dir, "data"), filepath.Join(dir, "keys"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	ctx := context.Background()
	idc, err := sftpship.Open(ctx, server.URL("/"), nil)
	if err != nil {
		log.Fatal(err) // every mistake in the URL and its files
	}
	defer idc.Close()
	if err := idc.Check(ctx); err != nil {
		log.Print(err) // what is wrong there, and the cure; delivery will be tried all the same
	}

	const text = "water under the bridge\n"
	object := ship.BytesObject("class=vpn/1.log", "00000000000000000000000000", []byte(text))
	body := io.NewSectionReader(strings.NewReader(text), 0, int64(len(text)))
	receipt, err := idc.Put(ctx, object, body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(receipt.Size, receipt.Method, receipt.Degraded)

	for entry, err := range idc.List(ctx, "") {
		fmt.Println(entry.Key, entry.Size, err)
	}
	// Output:
	// 23 read-back [no-fsync]
	// class=vpn/1.log 23 <nil>
}
