package ship_test

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
)

// The keys are PEM files, as openssl writes them. A collector signs with the private one; whoever reads the destination checks
// manifests with the public one.
func ExampleReadPrivateKey() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	private, public := writeKeys(dir)

	key, err := ship.ReadPrivateKey(private)
	if err != nil {
		log.Fatal(err)
	}
	sp, err := spool.Open(filepath.Join(dir, "spool"), &spool.Options{Class: "vpn", Destinations: []string{"idc"}})
	if err != nil {
		log.Fatal(err)
	}
	defer sp.Close()
	idc := shiptest.Memory()
	s, err := ship.New(sp, &ship.Options{Destinations: map[string]ship.Destination{"idc": idc}, Signer: key})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	if err := s.Finalize(ctx, "idc"); err != nil {
		log.Fatal(err)
	}
	stop()
	if err := <-done; err != nil {
		log.Fatal(err)
	}

	trusted, err := ship.ReadPublicKey(public)
	if err != nil {
		log.Fatal(err)
	}
	m, err := ship.ReadManifest(context.Background(), idc, "vpn", sp.Stats().Spool, 1, 0)
	if err != nil {
		log.Fatal(err)
	}
	_, err = m.CheckSignature(trusted)
	fmt.Println("manifest", m.Header.Number, "of epoch", m.Header.Epoch, "signed:", err == nil)
	// Output: manifest 0 of epoch 1 signed: true
}

// writeKeys does what `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout` do.
func writeKeys(dir string) (private, public string) {
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		log.Fatal(err)
	}
	write := func(name, kind string, der []byte, err error) string {
		path := filepath.Join(dir, name)
		if err == nil {
			err = os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
		}
		if err != nil {
			log.Fatal(err)
		}
		return path
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	private = write("key.pem", "PRIVATE KEY", der, err)
	der, err = x509.MarshalPKIXPublicKey(pub)
	return private, write("key.pub.pem", "PUBLIC KEY", der, err)
}
