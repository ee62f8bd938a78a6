import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.Document;
import io.netty.channel.Channel;
import java.io.ByteArrayInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.List;
import org.h2.mvstore.MVStore;

/**
 * mongo-java-server on the loopback, for the tests of the MongoDB directory: PORT DATA_FILE [CERTIFICATE KEY].
 *
 * Port 0 takes a free one. Prints "listening PORT" when it serves. Ends when its standard input does, so that it never
 * outlives the test that started it.
 */
class Server {
    public static void main(String[] arguments) throws Exception {
        MVStore store = new MVStore.Builder().fileName(arguments[1]).autoCommitDisabled().open();
        MongoServer server = new MongoServer(new Durable(store));
        if (arguments.length > 2) {
            server.enableSsl(key(arguments[3]), null, certificate(arguments[2]));
        }
        server.bind("127.0.0.1", Integer.parseInt(arguments[0]));
        System.out.println("listening " + server.getLocalAddress().getPort());
        while (System.in.read() >= 0) {
            // Whatever is said is not for us.
        }
        Runtime.getRuntime().halt(0);
    }

    /** Each command is whole and in the file before it is answered, as MongoDB's journal has it: kill -9 loses none. */
    private static final class Durable extends H2Backend {
        Durable(MVStore store) {
            super(store);
            version(new Recent());
        }

        @Override
        public synchronized Document handleCommand(Channel channel, String database, String command, Document query) {
            try {
                return super.handleCommand(channel, database, command, query);
            } finally {
                commit();
            }
        }
    }

    /** The driver wants at least MongoDB 4.4; the server says 5.0 but names an older protocol. */
    private static final class Recent implements MongoVersion {
        @Override
        public List<Integer> getVersionArray() {
            return List.of(5, 0, 0);
        }

        @Override
        public int getWireVersion() {
            return 13;
        }
    }

    private static X509Certificate certificate(String file) throws Exception {
        byte[] pem = Files.readAllBytes(Path.of(file));
        return (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(new ByteArrayInputStream(pem));
    }

    private static PrivateKey key(String file) throws Exception {
        String pem = Files.readString(Path.of(file)).replaceAll("-----[^-]*-----", "");
        byte[] der = Base64.getMimeDecoder().decode(pem);
        return KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(der));
    }
}
