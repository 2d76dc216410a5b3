<?php
// predis with its session handler.
require __DIR__ . '/act.php';
require 'Predis/Autoloader.php';
Predis\Autoloader::register();

runs(['predis' => Predis\Client::VERSION, 'php' => PHP_MAJOR_VERSION . '.' . PHP_MINOR_VERSION]);

// Its handler takes gc_maxlifetime when it is made and its connection does not come back by itself: each request is a
// handler of its own on a connection of its own, as it is under a web server.
class PerRequest implements SessionHandlerInterface
{
    private Predis\Session\Handler $handler;

    public function open($path, $name): bool
    {
        global $port;
        $client = new Predis\Client(['host' => '127.0.0.1', 'port' => $port], ['prefix' => 'sessions:']);
        $this->handler = new Predis\Session\Handler($client);
        return $this->handler->open($path, $name);
    }

    public function read($id): string|false { return $this->handler->read($id); }
    public function write($id, $data): bool { return $this->handler->write($id, $data); }
    public function destroy($id): bool { return $this->handler->destroy($id); }
    public function gc($lifetime): int|false { return 0; }
    public function close(): bool { return $this->handler->close(); }
}

session_set_save_handler(new PerRequest());
live();
