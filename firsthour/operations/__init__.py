"""Operations across services: administration, verification, diagnosis, replay."""
